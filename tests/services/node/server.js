// A small shop: one route verifies its tokens, one only decodes them.
'use strict';

const express = require('express');
const jwt = require('jsonwebtoken');

const [host, port] = process.argv.slice(2);
const secret = process.env.JWT_SECRET;
const app = express();
app.use(express.json());

function bearer(req) {
  const match = /^Bearer (\S+)$/i.exec(req.get('authorization') || '');
  return match && match[1];
}

app.post('/login', (req, res) => {
  const { user, password } = req.body || {};
  if (user !== 'ann' || password !== 'ann') {
    return res.status(401).json({ error: 'unknown user or password' });
  }
  res.json({ token: jwt.sign({}, secret, { algorithm: 'HS256', subject: user, expiresIn: '1h' }) });
});

app.get('/orders', (req, res) => {
  try {
    const claims = jwt.verify(bearer(req), secret, { algorithms: ['HS256'] });
    res.json({ user: claims.sub, orders: [] });
  } catch (error) {
    res.status(401).json({ error: error.message });
  }
});

app.get('/weak/orders', (req, res) => {
  const claims = jwt.decode(bearer(req));
  if (!claims) {
    return res.status(400).json({ error: 'no token' });
  }
  res.json({ user: claims.sub, orders: [] });
});

app.listen(Number(port), host);
