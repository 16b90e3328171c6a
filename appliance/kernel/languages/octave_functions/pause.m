% Wait for seconds, and for no key: figures are shown when the cell ends.
function pause (seconds = Inf)
  if (isfinite (seconds))
    builtin ("pause", seconds);
  endif
endfunction
