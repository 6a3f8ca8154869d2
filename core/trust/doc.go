// Package trust keeps what the cloud's own safety rests on: authorities that sign the
// certificates of agents and appliances, and what plugins keep as secrets. Keys are
// sealed in the database (store.Seal) and leave it for nobody. It must not import the
// services.
package trust
