"""What things cost."""

CURRENCY = "€"


def price(thing: str) -> str:
    return f"{len(thing)} {CURRENCY}"
