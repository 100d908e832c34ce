from shop import prices


def test_prices():
    assert prices.PRICE.startswith("prices-")
