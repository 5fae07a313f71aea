package reprise

// StoreKeys returns the keys under which a [Store] can have the record of the session id: one, if a fleet key has made the ID,
// or else one for each fleet key, because an application's own generator may have made it. It is for tools: servers use
// [BindStore].
func (k *FleetKeys) StoreKeys(id SessionID) []StoreKey {
	keys := k.made(id)
	if keys == nil {
		keys = k.keys
	}
	storeKeys := make([]StoreKey, len(keys))
	for i, key := range keys {
		storeKeys[i] = key.storeKey(id)
	}
	return storeKeys
}

// OpenRecord opens the record of the session id, as it lies in a [Store]. It does not look at the session's time, nor at the
// incarnation of the store. An error means that the bytes are no record, or one that is damaged, of another session or of
// another fleet key; hostile ones neither panic nor cost much. It is for tools: servers use [BindStore].
func (k *FleetKeys) OpenRecord(id SessionID, record []byte) (*Session, error) {
	err := k.check()
	for _, key := range k.keys {
		var s *Session
		if s, _, err = key.open(id, record); err == nil {
			return s, nil
		}
	}
	return nil, err
}

// Made reports whether one of the fleet keys has made the session ID.
func (k *FleetKeys) Made(id SessionID) bool { return k.keyOf(id) != nil }
