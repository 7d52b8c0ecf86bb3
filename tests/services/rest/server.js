// Express with a score for every request that has a good token: the example of docs/rest.md.
'use strict';

const express = require('express');
const jwt = require('jsonwebtoken');
const { jotwatch } = require('./jotwatch.js');

const [host, port] = process.argv.slice(2);
const app = express();

app.use((req, res, next) => {
  try {
    const token = /^Bearer (\S+)$/i.exec(req.get('authorization') || '')[1];
    req.auth = jwt.verify(token, process.env.JWT_SECRET, { algorithms: ['HS256'] });
    next();
  } catch {
    res.status(401).json({ error: 'no good token' });
  }
});
app.use(jotwatch({
  socketPath: process.env.JOTWATCH_SOCKET,
  keyFile: process.env.JOTWATCH_KEY,
  // A test shall not fail because the machine is busy.
  timeout: 20_000,
}));
app.get('/{*rest}', (req, res) => res.json({ user: req.auth.sub, score: req.jotwatch ? req.jotwatch.score : null }));

app.listen(Number(port), host);
