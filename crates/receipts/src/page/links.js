// What a record says of its parties' links, as `tacit_receipts::record` has it.

const LINKED_PARTIES_MAX = 64;

/** What is wrong with what parties say of their links; nothing when each is of other seats of an attempt that ran. */
function linksFault({ version, parties, attempt, links = [] }) {
  if ((links.length > 0) !== (version === 4n)) return `links, or none, in version ${version}`;
  if (links.length && (parties.length > LINKED_PARTIES_MAX || attempt === 0n)) return 'links of too many parties, or of no attempt';
  if (links.some((l, i) => i > 0 && links[i - 1].seat >= l.seat)) return 'links out of order, or a party\'s twice';
  const seated = (seat) => Number(seat) < parties.length;
  for (const { seat, differing = [], unsealed = 0n } of links) {
    if (!seated(seat) || differing.some((other) => !seated(other) || other === seat)) return 'links with itself, or of nobody';
    if (differing.some((other, i) => i > 0 && differing[i - 1] >= other)) return 'the other ends of links out of order, or one twice';
    if (differing.length + Number(unsealed) >= parties.length) return 'more links than there are other parties';
  }
  return null;
}

/** How many links have ends that signed different things. */
const disputedLinks = ({ links = [] }) =>
  new Set(links.flatMap(({ seat, differing = [] }) => differing.map((other) => (seat < other ? `${seat} ${other}` : `${other} ${seat}`)))).size;

/** What is wrong with an attestation beside what the record has of its party's links. */
function linksUnlike(record, who, { transcript }) {
  const own = record.links?.find(({ seat }) => record.parties[Number(seat)]?.party === who);
  const bound = record.version === 4n || (record.status.is === 'ok' && record.parties.length <= LINKED_PARTIES_MAX);
  return bound && own?.root !== transcript ? 'attested other links than the record has for it' : null;
}

