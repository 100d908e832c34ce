from shop.prices import price


def test_price() -> None:
    assert price("tea") == "3 €"
