PRICE = "prices-0"
