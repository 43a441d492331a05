"""What the answers of inference APIs tell: the first token, the end, errors, tokens. Floor 2: may import 0 and 1.

``shapes`` is the table; ``sse``, ``lines``, ``elements``, ``frames``, ``eventstream`` and ``websocket`` take the bytes
apart, however they are split; ``look`` looks at one event; ``reading`` puts them together, and ``realtime`` those of a
session that holds many answers.
"""

from extproc.answers.reading import Reading as Reading
from extproc.answers.reading import reading as reading
from extproc.answers.realtime import Answer as Answer
from extproc.answers.realtime import Session as Session
from extproc.answers.realtime import session as session
from extproc.answers.shapes import HEADERS as HEADERS
