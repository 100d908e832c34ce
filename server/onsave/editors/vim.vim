" onsave for Vim 8.1 and newer (Neovim has better: onsave editor neovim).
"
"   onsave editor vim > ~/.vim/plugin/onsave.vim
"
" Each file that is written is told to the running apps. What is wrong goes into the quickfix
" list; files that concern no app change nothing and say nothing.
"
"   :Onsave restart|stop|status|why %   calls the command

if exists('g:loaded_onsave') || !has('job') || !has('channel')
  finish
endif
let g:loaded_onsave = 1
let s:onsave = @ONSAVE@

function! s:saved(file) abort
  let l:told = []
  call job_start([s:onsave, 'saved', '--wait', a:file], {
        \ 'in_io': 'null',
        \ 'callback': {channel, line -> add(l:told, line)},
        \ 'exit_cb': {job, code -> s:ended(l:told, code)},
        \ })
endfunction

function! s:ended(told, code) abort
  if a:code == 1
    call setqflist([], ' ', {'title': 'onsave', 'lines': a:told, 'efm': '%f:%l: %m,%-G%.%#'})
    echohl WarningMsg | echomsg get(a:told, 0, 'onsave: not up to date') | echohl None
  elseif a:code == 0
    if getqflist({'title': 0}).title ==# 'onsave'
      call setqflist([], 'r', {'title': 'onsave', 'items': []})
    endif
    if !empty(a:told)
      echomsg a:told[0]
    endif
  endif
endfunction

augroup onsave
  autocmd!
  autocmd BufWritePost * if &buftype ==# '' | call s:saved(expand('<afile>:p')) | endif
augroup END

command! -nargs=+ -complete=file Onsave echo system(shellescape(s:onsave) . ' ' . <q-args>)
