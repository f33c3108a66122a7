// An OpenID provider for tests. Prints its port; reads orders from its input: `rotate` signs by a new key from then on and publishes both,
// `forget` publishes the newest key only. Each order is answered by a line.
import { generateKeyPairSync } from 'node:crypto';
import { createRequire } from 'node:module';
import http from 'node:http';
import readline from 'node:readline';

const require = createRequire(`${process.argv[2]}/`);
const { Provider } = await import(require.resolve('oidc-provider'));

let keys = [];
let number = 0;
let handle;
let issuer;

function add() {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  number += 1;
  keys.unshift({ ...privateKey.export({ format: 'jwk' }), kid: `key-${number}`, use: 'sig', alg: 'ES256' });
}

function start() {
  const provider = new Provider(issuer, {
    jwks: { keys },
    cookies: { keys: ['a test'] },
    clients: [{
      client_id: 'shop',
      client_secret: 'a-secret-of-the-shop',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
      id_token_signed_response_alg: 'ES256',
    }],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:orders',
        getResourceServerInfo: () => ({
          scope: 'orders:read orders:write',
          audience: 'urn:orders',
          accessTokenTTL: 600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  handle = provider.callback();
}

const server = http.createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  add();
  start();
  console.log(`port ${server.address().port}`);
});

readline.createInterface({ input: process.stdin }).on('line', (order) => {
  if (order === 'rotate') add();
  if (order === 'forget') keys = keys.slice(0, 1);
  start();
  console.log(`done ${order}`);
});
