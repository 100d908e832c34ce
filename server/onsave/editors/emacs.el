;;; onsave.el --- save a file, and the running Python app is up to date -*- lexical-binding: t -*-

;; For Emacs 26.1 and newer: put this into your init file, or into a file that it loads.
;; There are two ways. Take the first if eglot manages your Python buffers with no other server,
;; the second otherwise: eglot talks to one server a buffer.

(defcustom onsave-program @ONSAVE@
  "The onsave command."
  :type 'string
  :group 'tools)

;;; 1. With eglot: diagnostics, progress, and all files that eglot watches.

(with-eval-after-load 'eglot
  (add-to-list 'eglot-server-programs
               `((python-mode python-ts-mode) . (,onsave-program "lsp"))))
;; Then, in a Python buffer: M-x eglot, or for all of them:
;;   (add-hook 'python-base-mode-hook #'eglot-ensure)

(defun onsave-restart ()
  "Restart the app, whatever is stale."
  (interactive)
  (call-process onsave-program nil 0 nil "restart"))

;;; 2. Without: M-x onsave-mode tells running apps of each file that is saved, whatever mode the
;;; buffer is in. What is wrong is shown in *onsave*, with the lines linked.

(defun onsave-saved ()
  "Tell the running apps that this file was saved."
  (when buffer-file-name
    (let ((default-directory temporary-file-directory)
          (output (generate-new-buffer " *onsave output*")))
      (make-process
       :name "onsave saved" :buffer output :noquery t :connection-type 'pipe
       :command (list onsave-program "saved" "--wait" buffer-file-name)
       :sentinel #'onsave--told))))

(defun onsave--told (process _event)
  "Show what PROCESS told: nothing of files that concern nobody."
  (when (memq (process-status process) '(exit signal))
    (let ((text (with-current-buffer (process-buffer process) (string-trim (buffer-string)))))
      (kill-buffer (process-buffer process))
      (pcase (process-exit-status process)
        (0 (message "%s" text))
        (1 (with-current-buffer (get-buffer-create "*onsave*")
             (let ((inhibit-read-only t))
               (erase-buffer)
               (insert text "\n")
               (compilation-mode))
             (display-buffer (current-buffer))))))))

;;;###autoload
(define-minor-mode onsave-mode
  "Tell running Python apps of every file that is saved."
  :global t
  (if onsave-mode
      (add-hook 'after-save-hook #'onsave-saved)
    (remove-hook 'after-save-hook #'onsave-saved)))

(provide 'onsave)
;;; onsave.el ends here
