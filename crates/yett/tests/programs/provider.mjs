// An OpenID provider whose tokens must be asked about, and the holder of a key that tokens are bound to. Prints its port; reads orders
// from its input: `proof METHOD URL TOKEN NONCE` (`-` for none) makes a proof of possession, answered by a line. Its second argument is
// for how many seconds tokens of `urn:backend` hold. It exchanges tokens (RFC 8693), but none for `urn:closed`.
import { randomUUID, createHash } from 'node:crypto';
import { createRequire } from 'node:module';
import http from 'node:http';
import readline from 'node:readline';

const require = createRequire(`${process.argv[2]}/`);
const { Provider, errors } = await import(require.resolve('oidc-provider'));
const backendSeconds = Number(process.argv[3] ?? 600);
const { SignJWT, exportJWK, generateKeyPair } = await import(require.resolve('jose'));

const keys = await generateKeyPair('ES256', { extractable: true });
const signing = await generateKeyPair('ES256', { extractable: true });
const jwk = await exportJWK(keys.publicKey);

const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

const client = (id, more) => ({
  client_id: id,
  client_secret: `a-secret-of-${id}`,
  grant_types: ['client_credentials'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  ...more,
});

function start(issuer) {
  const provider = new Provider(issuer, {
    jwks: { keys: [{ ...signingKey, kid: 'a', use: 'sig', alg: 'ES256' }] },
    cookies: { keys: ['a test'] },
    clients: [
      client('shop'),
      client('bank', { tls_client_certificate_bound_access_tokens: true }),
      client('gateway', { grant_types: ['client_credentials', EXCHANGE] }),
    ],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true },
      revocation: { enabled: true },
      mTLS: {
        enabled: true,
        certificateBoundAccessTokens: true,
        // In place of a proxy that ends TLS.
        getCertificate: (ctx) => decodeURIComponent(ctx.get('x-certificate')) || undefined,
      },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:orders',
        getResourceServerInfo: (_, resource) => ({
          scope: 'orders:read orders:write',
          audience: resource,
          accessTokenTTL: resource === 'urn:backend' ? backendSeconds : 600,
          accessTokenFormat: resource === 'urn:jwt' ? 'jwt' : 'opaque',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  provider.registerGrantType(EXCHANGE, exchange, [
    'subject_token',
    'subject_token_type',
    'requested_token_type',
    'resource',
    'scope',
  ]);
  return provider.callback();
}

// RFC 8693: the provider has no such grant of its own, but room for it.
async function exchange(ctx) {
  const { client, params, provider } = ctx.oidc;
  const subject = await provider.ClientCredentials.find(params.subject_token ?? '');
  if (!subject?.isValid) throw new errors.InvalidGrant('the token to exchange is not valid');
  if (params.resource === 'urn:closed') throw new errors.InvalidTarget();
  const token = new provider.ClientCredentials({
    client,
    scope: subject.scope,
    aud: params.resource,
    expiresIn: backendSeconds,
    extra: { act: subject.clientId },
  });
  const value = await token.save();
  ctx.body = {
    access_token: value,
    issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
    token_type: token.tokenType,
    expires_in: token.expiration,
  };
}

const signingKey = await exportJWK(signing.privateKey);

let handle;
const server = http.createServer((request, response) => handle(request, response));
server.listen(0, '127.0.0.1', () => {
  handle = start(`http://127.0.0.1:${server.address().port}`);
  console.log(`port ${server.address().port}`);
});

let number = 0;
readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const [, method, url, token, nonce] = line.split(' ');
  number += 1;
  const mine = number;
  const claims = { jti: randomUUID(), htm: method, htu: url };
  if (token !== '-') claims.ath = createHash('sha256').update(token).digest('base64url');
  if (nonce !== '-') claims.nonce = nonce;
  const proof = await new SignJWT(claims)
    .setProtectedHeader({ typ: 'dpop+jwt', alg: 'ES256', jwk })
    .setIssuedAt()
    .sign(keys.privateKey);
  console.log(`proof ${mine} ${proof}`);
});
