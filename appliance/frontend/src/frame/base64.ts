/** Bytes as text, for messages that are JSON. */

export type Buffer = ArrayBuffer | ArrayBufferView;

/** Arguments that browsers take in one call. */
const CHUNK = 32_768;

export function toBase64(buffer: Buffer): string {
  const bytes = buffer instanceof ArrayBuffer ? new Uint8Array(buffer) : new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) text += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(text);
}

/** Return the bytes; none when the text is not base64. */
export function fromBase64(text: string): DataView {
  try {
    return new DataView(Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer);
  } catch {
    return new DataView(new ArrayBuffer(0));
  }
}
