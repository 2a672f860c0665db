"""The local page of ``damgan paint``: needs the extra ``page`` (Starlette, uvicorn)."""
