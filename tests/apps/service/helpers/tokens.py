TOKEN = "token-0"
