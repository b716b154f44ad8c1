// Serve scimmy-routers over Express, in memory, with the same people and groups: what the bench compares with.
// Usage: node scimmy_peer.mjs PEOPLE SIZE...; prints where it listens as one JSON line.
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const [people, ...sizes] = process.argv.slice(2).map(Number);
const now = new Date().toISOString();

function store(type, key) {
    const byId = new Map(), byName = new Map();
    let last = 0;
    const put = (id, data) => {
        const kept = {...data, id, meta: {created: now, lastModified: new Date().toISOString()}};
        byId.set(id, kept);
        byName.set(String(data[key]).toLowerCase(), kept);
        return kept;
    };
    SCIMMY.Resources.declare(type)
        .ingress((resource, data) => put(resource.id ?? `${type.name}-${++last}`, JSON.parse(JSON.stringify(data))))
        .egress((resource) => {
            if (resource.id) {
                if (!byId.has(resource.id)) throw new SCIMMY.Types.Error(404, null, "not found");
                return byId.get(resource.id);
            }
            // The index that anybody would keep; without it each look-up reads everybody.
            const named = resource.filter?.length === 1 && resource.filter[0][key];
            if (named && named[0] === "eq") return [byName.get(String(named[1]).toLowerCase())].filter(Boolean);
            const all = [...byId.values()];
            return resource.filter ? resource.filter.match(all) : all;
        })
        .degress((resource) => { byId.delete(resource.id); });
    return (data) => put(`${type.name}-${++last}`, data).id;
}

const addUser = store(SCIMMY.Resources.User, "userName");
const addGroup = store(SCIMMY.Resources.Group, "displayName");
const ids = Array.from({length: people}, (_, n) => addUser({
    userName: `person${n}@example.org`, displayName: "Ann Example", name: {givenName: "Ann", familyName: "Example"},
    title: "Tester", emails: [{type: "work", primary: true, value: `person${n}@example.org`}], active: true,
}));
const groups = Object.fromEntries(sizes.map((size) => [size, addGroup({
    displayName: `Group of ${size}`, members: ids.slice(0, size).map((value) => ({value})),
})]));
const app = express();
app.use("/scim/v2", new SCIMMYRouters({type: "bearer", docUri: "https://example.org", handler: () => "bench"}));
const server = app.listen(0, "127.0.0.1", () => {
    console.log(JSON.stringify({url: `http://127.0.0.1:${server.address().port}/scim/v2`, people: ids, groups}));
});
