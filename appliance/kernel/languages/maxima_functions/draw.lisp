;; Found before Maxima's own draw, which this loads: its pictures go where plots go, unless a program says otherwise.
(in-package :maxima)

(let* (($file_search_lisp (cons (first $file_search_lisp) (cddr $file_search_lisp)))
       (own (pathname ($file_search "draw"))))
  ;; as its draw.system says, which would compile them into a home and ask whether it may
  (dolist (name '("grcommon" "gnuplot" "vtk" "picture"))
    (load (make-pathname :name name :type "lisp" :defaults own) :verbose nil))
  ($put '$draw 2 '$version))

(let ((begin (symbol-function 'ini-global-options)))
  (defun ini-global-options ()
    (funcall begin)
    (setf (gethash '$terminal *gr-options*) '$pngcairo
          (gethash '$dimensions *gr-options*) '(640 480)
          (gethash '$file_name *gr-options*) (cell-plot-file))))

;; There is no screen.
(let ((update (symbol-function 'update-terminal)))
  (defun update-terminal (value)
    (funcall update (if (member value '($screen $wxt $x11 $qt $aquaterm)) '$pngcairo value))))
