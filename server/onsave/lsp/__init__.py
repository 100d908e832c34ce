"""``onsave lsp``: the only part that knows LSP. Start reading at ``server``."""
