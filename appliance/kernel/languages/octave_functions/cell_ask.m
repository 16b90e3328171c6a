% Return a person's answer to QUESTION.
function answer = cell_ask (question)
  printf ("%s%s%s", getenv ("CELL_ASKS"), question, getenv ("CELL_ASKED"));
  fflush (stdout);
  % fgetl would look at what comes after the line
  [~, answer] = system (["head -n 1 ", getenv("CELL_ANSWERS")]);
  if (! strncmp (answer, "+", 1))
    error ("input: nobody is there to answer");
  endif
  answer = answer(2:end-1);
endfunction
