/** An editor over the whole window: F11 opens and closes it, Escape leaves at once, and so does the focus when it goes elsewhere. */

export class FullScreen {
  /** `open`: a list in the editor, which Escape closes first. `changed`: the visitor wanted it, and goes on in the editor, or not. */
  constructor(
    private readonly element: HTMLElement,
    private readonly button: HTMLButtonElement,
    private readonly open: () => boolean,
    private readonly changed: (wanted: boolean) => void,
  ) {
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      this.toggle();
    });
    element.addEventListener("keydown", this.key, true);
    element.addEventListener("focusout", (event) => {
      // what has the focus must be seen
      if (event.relatedTarget instanceof Node && !element.contains(event.relatedTarget)) this.leave();
    });
  }

  get full(): boolean {
    return this.element.classList.contains("ca-full");
  }

  toggle(): void {
    if (this.full) this.leave(true);
    else this.enter();
  }

  private enter(): void {
    this.element.classList.add("ca-full");
    // above everything, whatever the page does with its layers; where there are no popovers, a high number must do
    if ("showPopover" in this.element) {
      this.element.popover = "manual";
      this.element.showPopover();
    }
    this.button.setAttribute("aria-pressed", "true");
    this.changed(true);
  }

  leave(wanted = false): void {
    if (!this.full) return;
    this.element.classList.remove("ca-full");
    if (this.element.hasAttribute("popover")) {
      this.element.hidePopover();
      this.element.removeAttribute("popover");
    }
    this.button.setAttribute("aria-pressed", "false");
    this.changed(wanted);
  }

  private readonly key = (event: KeyboardEvent): void => {
    const panel = event.target instanceof Element && event.target.closest(".ca-share-panel, dialog") !== null;
    if (event.key === "F11" && !event.repeat) this.toggle();
    else if (event.key === "Escape" && this.full && !panel && !this.open()) this.leave(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
}
