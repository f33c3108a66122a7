// A team publishes an API by a client that was generated from the document of the admin API: each path, body and answer is checked by
// the compiler against it. Arguments: the admin API, what its first link ends with, the gateway, and a server to publish.
import createClient from 'openapi-fetch';
import type { components, paths } from './admin.js';

declare const process: { argv: string[] };
const [url, link, gateway, target] = process.argv.slice(2) as [string, string, string, string];
const PATIENCE_MS = 60_000;

/** What was answered; a problem ends the program. */
async function done<T, E>(answer: Promise<{ data?: T; error?: E; response: Response }>): Promise<T> {
  const { data, error, response } = await answer;
  if (!response.ok) throw new Error(`${response.status} ${response.url} ${JSON.stringify(error)}`);
  return data as T;
}

async function until(what: string, ask: () => Promise<boolean>): Promise<void> {
  const began = Date.now();
  while (!(await ask())) {
    if (Date.now() - began > PATIENCE_MS) throw new Error(`waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const open = createClient<paths>({ baseUrl: url });
const session = await done(open.POST('/v1/sessions', { body: { link, bearer: true } }));
const headers = { authorization: `Bearer ${session.bearer}` };
const api = createClient<paths>({ baseUrl: url, headers });
const team = { path: { workspace: 'default' } };

// Draft, check, publish.
const upstream: components['schemas']['ConfigUpstream'] = { targets: [target] };
await done(api.POST('/v1/workspaces/{workspace}/upstreams', { params: team, body: { name: 'shop', config: upstream } }));
const shop = (word: string): components['schemas']['ConfigApi'] => ({
  path: '/shop',
  upstream: 'shop',
  policies: ['api_key', { headers: { response: { set: { 'x-word': word } } } }],
});
await done(api.POST('/v1/workspaces/{workspace}/apis', { params: team, body: { name: 'shop', config: shop('one') } }));
const orders = { name: 'orders', config: { path: '/orders' } };
const ofShop = { path: { ...team.path, api: 'shop' } };
await done(api.POST('/v1/workspaces/{workspace}/apis/{api}/routes', { params: ofShop, body: orders }));
const checked = await done(api.GET('/v1/workspaces/{workspace}/draft/check', { params: team }));
if (!checked.ok) throw new Error(JSON.stringify(checked.errors));
const publish = (note: string) => done(api.POST('/v1/workspaces/{workspace}/revisions', { params: team, body: { note } }));
const first = await publish('the first');

// Traffic flows, for who has a key.
const asks = (key: string) => fetch(`${gateway}/shop/orders`, { headers: { 'x-api-key': key } });
const status = async (key: string) => (await asks(key)).status;
await until('the API is served', async () => (await status('none')) === 401);
await done(api.POST('/v1/workspaces/{workspace}/consumers', { params: team, body: { name: 'alice' } }));
const alice = { path: { ...team.path, consumer: 'alice' } };
const key = { proof: { api_key: {} } };
const made = await done(api.POST('/v1/workspaces/{workspace}/consumers/{consumer}/credentials', { params: alice, body: key }));
const shown = made.shown ?? '';
await until('the key is believed', async () => (await status(shown)) === 200);

// Another revision, and back.
const word = async () => (await asks(shown)).headers.get('x-word');
if ((await word()) !== 'one') throw new Error(`the word is ${await word()}`);
const there = await api.GET('/v1/workspaces/{workspace}/apis/{api}', { params: ofShop });
const match = { header: { 'If-Match': there.response.headers.get('etag') ?? '' } };
const changed = { params: { ...ofShop, ...match }, body: { config: shop('two') } };
await done(api.PUT('/v1/workspaces/{workspace}/apis/{api}', changed));
await publish('the second');
await until('the second is served', async () => (await word()) === 'two');
const late = await api.PUT('/v1/workspaces/{workspace}/apis/{api}', changed);
if (late.response.status !== 412 || late.error?.code !== 'changed') throw new Error(JSON.stringify(late.error));
const back = { params: { path: { ...team.path, revision: first.number } }, body: { note: 'back' } };
await done(api.POST('/v1/workspaces/{workspace}/revisions/{revision}/rollback', back));
await until('the first is back', async () => (await word()) === 'one');

// A key that is taken away.
const credential = { path: { ...team.path, credential: made.credential.id }, header: { 'If-Match': '*' } };
await done(api.DELETE('/v1/workspaces/{workspace}/credentials/{credential}', { params: credential }));
const began = Date.now();
await until('the key is refused', async () => (await status(shown)) === 401);
console.log(`refused after ${Date.now() - began} ms`);
console.log('published');
