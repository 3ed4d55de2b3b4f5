-- The node key that an invitation was used with. It stays until it expires, so that whoever did not get the
-- answer can ask again.
ALTER TABLE invitations ADD COLUMN used_by BLOB;
