;; What Maxima's kernel sets, and its lines of statements do not.
(in-package :maxima)

;; Where plots go, each into a file of its own, which the kernel shows.
(defvar *cell-directory* "/tmp")
(defvar *cell-plots* 0)

;; What is set by now is what reset() sets again.
(defun cell-keep (directory)
  (setq *cell-directory* directory)
  (dolist (name '($display2d $linel $errormsg $maxima_tempdir))
    (setf (gethash name *variable-initial-values*) (symbol-value name))))

(defun cell-plot-file ()
  (format nil "~a/plot-~d" *cell-directory* (+ 100000 (incf *cell-plots*))))

;; A plot's value is the names of its files, the first of them gnuplot's commands: it is kept, but not shown as a result.
(defun cell-plot-p (value)
  (and ($listp value) (every #'stringp (rest value))
       (eql (mismatch *cell-directory* (second value)) (length *cell-directory*))))

(let ((show (symbol-function 'displa)))
  (defun displa (form)
    (unless (and (consp form) (eq (caar form) 'mlabel) (cell-plot-p (third form)))
      (funcall show form))))

;; plot2d, plot3d and what is built on them write the file that this option names.
(defun cell-with-plot-file (name)
  (let ((plot (symbol-function name)))
    (setf (symbol-function name)
          (lambda (&rest arguments)
            (setf (getf *plot-options* :gnuplot_out_file) (concatenate 'string (cell-plot-file) ".png"))
            (apply plot arguments)))))

(cell-with-plot-file '$plot2d)
(cell-with-plot-file '$plot3d)

;; Packages in Lisp that are not compiled yet: a kernel has no C compiler, and would ask whether to use it.
#+ecl (ext:install-bytecodes-compiler)
($load "lisp-utils/defsystem.lisp")
(setq make::*load-source-if-no-binary* t
      make::*bother-user-if-no-binary* nil
      make::*compile-during-load* nil)

;; Both would go on to read from the standard input.
(defun $debugmode (&rest arguments)
  (declare (ignore arguments))
  (merror "debugmode: a cell has no debugger"))

(defun $to_lisp ()
  (merror "to_lisp: a line of a cell that begins with :lisp is Lisp"))

;; A question goes to whoever runs the cell, not to the standard input: statements come from there.
(defun cell-ask (question)
  (format t "~a~a~a" (maxima-getenv "CELL_ASKS") question (maxima-getenv "CELL_ASKED"))
  (finish-output)
  (with-open-file (answers (maxima-getenv "CELL_ANSWERS"))
    ;; ECL opens files so that they do not wait, and says that nothing is there yet
    (let ((answer (loop (handler-case (return (read-line answers))
                          ((or file-error stream-error) () (sleep 0.02))))))
      (and (eql (mismatch "+" answer) 1) (subseq answer 1)))))

(defun cell-read (answer)
  (third (mread (make-string-input-stream (concatenate 'string answer ";")) nil)))

(defun cell-text (parts)
  (format nil "~{~a~}" (mapcar (lambda (part) (if (stringp part) part (mfuncall '$string part))) parts)))

(defun retrieve (question flag)
  (declare (ignore flag))
  (let* ((parts (if (and (consp question) (eq (caar question) 'mtext)) (cdr question) (list question)))
         (answer (cell-ask (cell-text parts))))
    (if answer
        (cell-read answer)
        (merror "Maxima asks: ~M Tell it by assume(...)" question))))

(defun $readonly (&rest question)
  (let ((answer (cell-ask (cell-text question))))
    (if answer (cell-read answer) (merror "read: nobody is there to answer"))))

(defun $read (&rest question)
  (meval (apply #'$readonly question)))
