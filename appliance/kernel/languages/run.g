# What GAP's kernel calls.

DeclareFilter("IsCellStream");
CELL_ERRORS := 0;

# The prompt's own variables, which values of a cell are put into, too.
Perform(["last", "last2", "last3"], MakeReadWriteGlobal);

# A cell's file ends for GAP after the line with the first error.
InstallMethod(ReadLine, "a cell up to its first error", [IsInputTextStream and IsInputTextFileRep and IsCellStream],
function(stream)
  if ErrorCount() > CELL_ERRORS then
    return fail;
  fi;
  TryNextMethod();
end);

# Run the statements in a file; show values as GAP's prompt does.
BindGlobal("CELL_RUN", function(name)
  local stream;
  CELL_ERRORS := ErrorCount();
  stream := InputTextFile(name);
  SetFilterObj(stream, IsCellStream);
  READ_ALL_COMMANDS(stream, false, false, function(value)
    last3 := last2;
    last2 := last;
    last := value;
    ViewObj(value);
    Print("\n");
  end);
  CloseStream(stream);
end);

BindGlobal("CELL_NAMES", function(word)
  local name;
  for name in IDENTS_BOUND_GVARS() do
    if StartsWith(name, word) then
      Print(name, "\n");
    fi;
  od;
end);
