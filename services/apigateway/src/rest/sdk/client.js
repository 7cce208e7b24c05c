// A client of one API. Needs `fetch` and, for signed methods, Web Crypto: any browser of today, or Node.js 18.
//
//   var client = apigClientFactory.newClient({ apiKey: "..", accessKey: "..", secretKey: "..", sessionToken: "..", region: ".." });
//   client.petsIdGet({ id: "7" }, undefined, { queryParams: { q: "x" }, headers: { "x-a": "b" } }).then(function (answer) {
//     answer.status; answer.headers; answer.data;
//   });
"use strict";

var apigClientFactory = (function () {
  var ENDPOINT = "@ENDPOINT@";
  var REGION = "@REGION@";
  var METHODS = @METHODS@;

  function escaped(text) {
    return encodeURIComponent(text).replace(/[!'()*]/g, function (c) {
      return "%" + c.charCodeAt(0).toString(16).toUpperCase();
    });
  }

  function queryOf(pairs) {
    return Object.keys(pairs)
      .filter(function (name) { return pairs[name] !== undefined; })
      .map(function (name) { return [escaped(name), escaped(String(pairs[name]))]; })
      .sort(function (a, b) { return a[0] < b[0] ? -1 : a[0] > b[0] ? 1 : 0; })
      .map(function (pair) { return pair[0] + "=" + pair[1]; })
      .join("&");
  }

  function hex(buffer) {
    return Array.from(new Uint8Array(buffer), function (byte) { return byte.toString(16).padStart(2, "0"); }).join("");
  }

  function bytes(text) {
    return new TextEncoder().encode(text);
  }

  function sha256(text) {
    return crypto.subtle.digest("SHA-256", bytes(text)).then(hex);
  }

  function hmac(key, text) {
    var use = { name: "HMAC", hash: "SHA-256" };
    return crypto.subtle.importKey("raw", key, use, false, ["sign"]).then(function (key) {
      return crypto.subtle.sign("HMAC", key, bytes(text));
    });
  }

  // Signature version 4 for `execute-api`.
  function sign(config, verb, url, query, headers, body) {
    var now = new Date().toISOString().replace(/[:-]|\.\d{3}/g, "");
    var scope = [now.slice(0, 8), config.region || REGION, "execute-api", "aws4_request"];
    headers["x-amz-date"] = now;
    if (config.sessionToken) headers["x-amz-security-token"] = config.sessionToken;
    var signed = { host: url.host };
    Object.keys(headers).forEach(function (name) { signed[name.toLowerCase()] = String(headers[name]).trim(); });
    var names = Object.keys(signed).sort();
    var lines = names.map(function (name) { return name + ":" + signed[name] + "\n"; }).join("");
    var path = url.pathname.split("/").map(function (part) { return escaped(part); }).join("/");
    return sha256(body || "").then(function (hash) {
      return sha256([verb, path, query, lines, names.join(";"), hash].join("\n"));
    }).then(function (hash) {
      var text = ["AWS4-HMAC-SHA256", now, scope.join("/"), hash].join("\n");
      var key = Promise.resolve(bytes("AWS4" + config.secretKey));
      scope.forEach(function (part) { key = key.then(function (key) { return hmac(key, part); }); });
      return key.then(function (key) { return hmac(key, text); }).then(hex);
    }).then(function (signature) {
      headers.Authorization = "AWS4-HMAC-SHA256 Credential=" + config.accessKey + "/" + scope.join("/") +
        ", SignedHeaders=" + names.join(";") + ", Signature=" + signature;
    });
  }

  function call(config, method, params, body, additional) {
    params = params || {};
    additional = additional || {};
    var headers = Object.assign({}, additional.headers);
    var pairs = Object.assign({}, additional.queryParams);
    method.query.forEach(function (name) { pairs[name] = params[name]; });
    method.headers.forEach(function (name) { if (params[name] !== undefined) headers[name] = params[name]; });
    var path = method.path.replace(/\{([^}+]+)\+?\}/g, function (_, name) {
      return String(params[name]).split("/").map(escaped).join("/");
    });
    if (config.apiKey) headers["x-api-key"] = config.apiKey;
    if (body !== undefined && body !== null && typeof body !== "string") body = JSON.stringify(body);
    if (body && !headers["Content-Type"]) headers["Content-Type"] = "application/json";
    var query = queryOf(pairs);
    var url = new URL((config.endpoint || ENDPOINT) + path);
    var ready = method.signed && config.accessKey
      ? sign(config, method.verb, url, query, headers, body)
      : Promise.resolve();
    return ready.then(function () {
      var hasBody = method.verb !== "GET" && method.verb !== "HEAD";
      return fetch(url.href + (query ? "?" + query : ""), { method: method.verb, headers: headers, body: hasBody ? body : undefined });
    }).then(function (response) {
      return response.text().then(function (text) {
        var data = text;
        try { data = JSON.parse(text); } catch (error) { /* not JSON */ }
        var answer = { status: response.status, headers: Object.fromEntries(response.headers.entries()), data: data };
        return response.ok ? answer : Promise.reject({ response: answer });
      });
    });
  }

  return {
    newClient: function (config) {
      config = config || {};
      var client = {};
      METHODS.forEach(function (method) {
        client[method.name] = function (params, body, additional) {
          return call(config, method, params, body, additional);
        };
      });
      return client;
    },
  };
})();

if (typeof module !== "undefined") module.exports = apigClientFactory;
