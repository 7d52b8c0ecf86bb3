// Asks Jotwatch for a score of each authenticated request, and refuses the suspicious.
'use strict';

const fs = require('node:fs');
const http = require('node:http');

function ask(options, described) {
  return new Promise((resolve, reject) => {
    const body = JSON.stringify(described);
    const request = http.request({
      socketPath: options.socketPath,
      path: '/v1/score',
      method: 'POST',
      agent: false,
      signal: AbortSignal.timeout(options.timeout ?? 500),
      headers: {
        Authorization: `Bearer ${fs.readFileSync(options.keyFile, 'utf8').trim()}`,
        'Content-Type': 'application/json',
        'Content-Length': Buffer.byteLength(body),
      },
    }, (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => { text += part; });
      answer.on('error', reject);
      answer.on('end', () => {
        if (answer.statusCode !== 200) return reject(new Error(`answered ${answer.statusCode}`));
        try { resolve(JSON.parse(text)); } catch (error) { reject(error); }
      });
    });
    request.on('error', reject);
    request.end(body);
  });
}

exports.jotwatch = (options) => async (req, res, next) => {
  try {
    req.jotwatch = await ask(options, {
      claims: req.auth,
      ipAddress: req.ip,
      method: req.method,
      path: req.originalUrl,
      userAgent: req.get('user-agent'),
      service: 'orders',
    });
  } catch (error) {
    // Without a score the request goes on: fail open.
    console.error(`jotwatch: ${error.message}`);
  }
  if (req.jotwatch && req.jotwatch.isSuspicious) {
    return res.status(403).json({ error: 'suspicious' });
  }
  next();
};
