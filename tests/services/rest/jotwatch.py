"""Asks Jotwatch for a score of each authenticated request, and refuses the suspicious."""

import logging
from pathlib import Path

import aiohttp
from fastapi import HTTPException, Request


class Jotwatch:
    def __init__(self, socket: str, key_file: str, timeout: float = 0.5) -> None:
        self.socket, self.key_file, self.timeout = socket, Path(key_file), timeout

    async def check(self, request: Request, claims: dict) -> dict | None:
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        described = {
            "claims": claims,
            "ipAddress": request.client.host if request.client else None,
            "method": request.method,
            "path": target,
            "userAgent": request.headers.get("user-agent"),
            "service": "orders",
        }
        try:
            score = await self.ask(described)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # Without a score the request goes on: fail open.
            logging.getLogger("jotwatch").error("no score: %s", error)
            return None
        if score["isSuspicious"]:
            raise HTTPException(403, "suspicious")
        return score

    async def ask(self, described: dict) -> dict:
        headers = {"Authorization": f"Bearer {self.key_file.read_text().strip()}"}
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path=self.socket),
            timeout=aiohttp.ClientTimeout(total=self.timeout),
            raise_for_status=True,
        ) as session:
            async with session.post("http://jotwatch/v1/score", json=described, headers=headers) as answer:
                return await answer.json()
