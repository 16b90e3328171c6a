# What Julia's kernel calls, and the loop that reads its statements.

module CellKernel

import REPL

# Where values go that are more than text, each as a file.
const directory = Ref("/tmp")
const shown = Ref(0)
const KINDS = (("image/svg+xml", ".svg"), ("image/png", ".png"), ("text/html", ".html"))

struct CellDisplay <: AbstractDisplay end

function show_value(value)
    for (mime, ending) in KINDS
        if showable(mime, value)
            shown[] += 1
            file = joinpath(directory[], string("value-", 100000 + shown[], ending))
            open(file, "w") do io
                show(IOContext(io, :limit => true), MIME(mime), value)
            end
            return
        end
    end
    show(IOContext(stdout, :limit => true, :displaysize => (30, 100)), MIME("text/plain"), value)
    println()
end

Base.display(::CellDisplay, value) = show_value(value)
Base.display(::CellDisplay, ::MIME"text/plain", value) = (show(stdout, MIME("text/plain"), value); println())

function tell(error, trace)
    frames = stacktrace(trace)
    # of the visitor's own, not of what runs the cell
    at = findlast(frame -> frame.file === :cell, frames)
    println(stderr, "ERROR: ", sprint(showerror, error))
    if at !== nothing
        for frame in frames[1:at]
            frame.file === :cell && println(stderr, "  in ", frame.func === Symbol("top-level scope") ? "the cell" : frame.func,
                ", line ", frame.line)
        end
    end
end

# Evaluate the statements in a file, which alone can be interrupted; show the last value as Julia's prompt does.
function run(file)
    code = read(file, String)
    try
        reenable_sigint() do
            value = Core.eval(Main, Base.parse_input_line(code, filename = "cell"))
            Core.eval(Main, Expr(:(=), :ans, QuoteNode(value)))
            if value !== nothing && !REPL.ends_with_semicolon(code)
                Base.invokelatest(display, value)
            end
        end
    catch error
        error isa InterruptException || Base.invokelatest(tell, error, catch_backtrace())
    end
    return
end

function complete(word)
    found, range, _ = REPL.REPLCompletions.completions(word, lastindex(word), Main)
    before = word[1:prevind(word, first(range))]
    for completion in found
        println(before, REPL.REPLCompletions.completion_text(completion))
    end
end

# A program that reads gets nothing: statements come by a copy of its standard input.
function loop()
    input = Base.fdio(ccall(:dup, Cint, (Cint,), 0), true)
    redirect_stdin(open("/dev/null"))
    ccall(:jl_exit_on_sigint, Cvoid, (Cint,), 0)
    pushdisplay(CellDisplay())
    disable_sigint() do
        while !eof(input)
            try
                include_string(Main, readline(input))
            catch error
                println(stderr, "ERROR: ", sprint(showerror, error))
            end
        end
    end
end

end

CellKernel.loop()
