// A function that does nothing: what loads a function is run once with it.
'use strict';

exports.handler = async (event) => event;
