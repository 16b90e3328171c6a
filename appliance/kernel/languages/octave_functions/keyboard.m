% Refuse: a cell has no debugger to talk to.
function keyboard (varargin)
  error ("keyboard: a cell has no debugger");
endfunction
