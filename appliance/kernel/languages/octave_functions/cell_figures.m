% Draw each open figure into a file in DIRECTORY, as PNG where SVG has more than MOST bytes, and close it.
function cell_figures (directory, most)
  for figure = sort (get (0, "children"))'
    if (! isempty (get (figure, "children")))
      base = sprintf ("%s/figure-%05d", directory, figure);
      set (0, "currentfigure", figure);
      drawnow ("svg size 560,420", [base ".svg"]);
      written = stat ([base ".svg"]);
      if (isempty (written) || written.size > most)
        unlink ([base ".svg"]);
        drawnow ("pngcairo size 560,420", [base ".png"]);
      endif
    endif
    close (figure);
  endfor
endfunction
