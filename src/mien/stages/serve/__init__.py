"""The stage `serve`: models behind HTTP; `app.py` starts it.

The only importer of fastapi, starlette, uvicorn and prometheus_client. It knows tasks through
their contract, models as bundles, and neither a training library nor a tracker. Importing this
package imports none of them.
"""
