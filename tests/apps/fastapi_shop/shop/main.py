"""A small shop in FastAPI: a lifespan, SQLAlchemy, an endless event stream and a web socket."""

import asyncio
import os
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

from . import database, prices

MAIN = "main-0"


@asynccontextmanager
async def lifespan(app):
    database.fill()
    yield
    database.engine.dispose()


app = FastAPI(lifespan=lifespan, default_response_class=PlainTextResponse)


@app.get("/pid")
async def pid():
    return str(os.getpid())


@app.get("/main")
async def token():
    return MAIN


@app.get("/greeting")
async def greeting():
    return "greeting-0"


@app.get("/prices")
async def price():
    return prices.PRICE


@app.get("/items")
def items():
    return " ".join(database.names())


@app.get("/lazy")
async def lazy():
    from . import reports

    return reports.REPORT


@app.get("/events")
async def events():
    """Never ends by itself."""

    async def ticks():
        number = 0
        while True:
            yield f"data: {MAIN} {number}\n\n"
            number += 1
            await asyncio.sleep(0.1)

    return StreamingResponse(ticks(), media_type="text/event-stream")


@app.websocket("/ws")
async def ws(websocket: WebSocket):
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(f"{prices.PRICE} {text}")
