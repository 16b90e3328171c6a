-- What Macaulay2's kernel sets: the width of lines, and pictures of VectorGraphics as files, which the kernel shows.
printWidth = 100
cellDirectory = "/tmp"
cellPictures = 0
cellPrint = Thing#{Standard,Print}
Thing#{Standard,Print} = x -> (
     if any(ancestors class x, type -> toString type === "GraphicsObject") then (
          cellPictures = cellPictures + 1;
          cellDirectory | "/picture-" | toString(100000 + cellPictures) | ".svg" << html x << endl << close;
          )
     else cellPrint x;
     )
