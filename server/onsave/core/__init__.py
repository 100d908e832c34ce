"""The pure core: it decides and never acts.

No I/O, no clock, no asyncio, no psutil, no pygls. Events go into :func:`onsave.core.step.step`,
effects come out; everything that the session knows is in one :class:`onsave.core.model.App`.
"""
