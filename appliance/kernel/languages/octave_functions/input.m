% Ask as Octave's own does, but not by the standard input: statements come from there.
function answer = input (question = "", kind = "")
  answer = cell_ask (question);
  if (isempty (kind))
    if (isempty (strtrim (answer)))
      answer = [];
    else
      answer = evalin ("caller", answer);
    endif
  endif
endfunction
