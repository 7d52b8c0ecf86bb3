"""FastAPI with a score for every request that has a good token: the example of docs/rest.md."""

import os
import sys

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Request
from joserfc import jwt
from joserfc.jwk import OctKey

from jotwatch import Jotwatch

KEY = OctKey.import_key(os.environ["JWT_SECRET"])
# A test shall not fail because the machine is busy.
jotwatch = Jotwatch(os.environ["JOTWATCH_SOCKET"], os.environ["JOTWATCH_KEY"], timeout=20)
app = FastAPI()


def claims_of(request: Request) -> dict:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    try:
        if scheme.lower() != "bearer":
            raise ValueError
        claims = jwt.decode(token, KEY, algorithms=["HS256"]).claims
        jwt.JWTClaimsRegistry().validate(claims)
        return claims
    except Exception:
        raise HTTPException(401, "no good token") from None


async def scored(request: Request, claims: dict = Depends(claims_of)) -> dict:
    return {"claims": claims, "score": await jotwatch.check(request, claims)}


@app.get("/{path:path}")
async def anything(found: dict = Depends(scored)) -> dict:
    score = found["score"]
    return {"user": found["claims"].get("sub"), "score": score and score["score"]}


if __name__ == "__main__":
    uvicorn.run(app, host=sys.argv[1], port=int(sys.argv[2]), log_level="warning")
