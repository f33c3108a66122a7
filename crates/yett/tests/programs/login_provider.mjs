// An OpenID provider where people log in as whoever the test says. Prints its port; reads orders from its input: `back URL` says where
// it may send them back to, `person NAME GROUPS` who is there from now on (groups with commas between), `keys` has it sign by another
// key. Its first argument is where the packages are.
import { createRequire } from 'node:module';
import http from 'node:http';
import readline from 'node:readline';

const require = createRequire(`${process.argv[2]}/`);
const { Provider } = await import(require.resolve('oidc-provider'));
const { exportJWK, generateKeyPair } = await import(require.resolve('jose'));

let number = 0;
const key = async () => {
  const { privateKey } = await generateKeyPair('ES256', { extractable: true });
  number += 1;
  return { ...(await exportJWK(privateKey)), kid: `key ${number}`, use: 'sig', alg: 'ES256' };
};
let signing = await key();
let person = { name: 'nobody', groups: [] };
let back = [];
let provider;

function start() {
  provider = new Provider(`http://127.0.0.1:${server.address().port}`, {
    jwks: { keys: [signing] },
    cookies: { keys: ['a test'] },
    clients: [
      {
        client_id: 'yett',
        client_secret: 'a secret of a test/+',
        redirect_uris: back,
        id_token_signed_response_alg: 'ES256',
      },
    ],
    claims: { openid: ['sub'], profile: ['preferred_username', 'groups'], email: ['email'] },
    conformIdTokenClaims: false,
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    findAccount: (_, id) => ({
      accountId: id,
      claims: () => ({ sub: id, preferred_username: id, email: `${id}@corp.test`, groups: person.groups }),
    }),
    async loadExistingGrant(ctx) {
      const { client, session } = ctx.oidc;
      const grant = new ctx.oidc.provider.Grant({ clientId: client.clientId, accountId: session.accountId });
      grant.addOIDCScope('openid profile email');
      await grant.save();
      return grant;
    },
    interactions: { url: (_, interaction) => `/here/${interaction.uid}` },
  });
}

const server = http.createServer((request, response) => {
  if (request.url.startsWith('/here/')) {
    // In place of a form with a password.
    const login = { login: { accountId: person.name, remember: false } };
    return provider.interactionFinished(request, response, login);
  }
  return provider.callback()(request, response);
});
server.listen(0, '127.0.0.1', () => {
  start();
  console.log(`port ${server.address().port}`);
});

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const [order, ...more] = line.split(' ');
  if (order === 'back') back = more;
  if (order === 'person') person = { name: more[0], groups: (more[1] ?? '').split(',').filter(Boolean) };
  if (order === 'keys') signing = await key();
  if (order !== 'person') start();
  console.log(`done ${line}`);
});
