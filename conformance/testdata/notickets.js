// Loaded before a client, it has the module tls offer no session tickets.
'use strict';
const { constants } = require('crypto');
const tls = require('tls');

const { connect } = tls;
tls.connect = (options, ...more) => connect({ ...options, secureOptions: constants.SSL_OP_NO_TICKET }, ...more);
