from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool


class Base(DeclarativeBase):
    pass


class Item(Base):
    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


engine = create_engine(
    "sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False}
)


def fill():
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all([Item(name="apple"), Item(name="database-0")])
        session.commit()


def names():
    with Session(engine) as session:
        return list(session.scalars(select(Item.name).order_by(Item.id)))
