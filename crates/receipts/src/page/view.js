// The page: what the reader chooses, and what was found, in English and Chinese. Every text of the evidence is set as
// text, never as markup.

const WORDS = {
  en: {
    title: 'Verify a receipt', other: '中文', lead: 'This page checks one receipt or a few in this browser. It sends nothing anywhere: save it and use it offline.',
    bundle: 'Evidence bundle', trust: 'Trust file (from another channel than the bundle)', drop: 'Choose the files, or drop the bundle here.',
    limit: 'Limit: a job that all of its parties hide together is in no log, and no verification can find it.',
    valid: 'VALID', invalid: 'NOT VALID', unpinnedValid: 'HOLDS TOGETHER; WHO SIGNED IT IS NOT SHOWN', receipts: 'receipts', good: 'valid', faults: 'faults', unread: 'The file could not be read',
    noCrypto: 'This browser cannot check Ed25519 signatures here. Use a current one, and open the page from a file, over https or from this machine.',
    log: 'Log', size: 'Leaves', root: 'Root', cosigned: 'Cosigned by', none: 'no trusted witness', logKey: 'Key of the log', from: 'From', until: 'Until', leaf: 'leaf', theLog: 'the log', hint: 'What to do',
    receipt: 'Receipt', used: (r) => `The computation "${r.kind}" ran from ${r.started} to ${r.ended}.`,
    ok: 'It gave a result.', aborted: 'It ended without a result', refused: 'It was refused',
    authority: 'Under the contracts', noContract: 'It names no contract.', spec: 'For what the signed job says, which has the hash', result: 'The sealed result has the hash',
    party: 'Party', role: 'What it did', standing: 'How it ended for it', dataset: 'Dataset', key: 'Key',
    roles: { input: 'brought data', compute: 'computed without data', result: 'received the result' },
    standings: { took_part: 'took part to the end', dropped: 'was lost on the way', silent: 'never answered' },
    unit: 'Unit', quantity: 'Quantity', counted: 'Who counted', whose: 'Whose', committed: 'committed', disputed: 'disputed',
    classes: { A: 'two parties or more count the same', B: 'follows from the signed job', C: 'one party says so; never billed' },
    units: { job: 'jobs', party: 'parties', cell_in: 'numbers given under masks', cell_out: 'cells of the result', cell_suppressed: 'cells held back', payload_byte: 'bytes of payload', row_scanned: 'rows read', call: 'calls', row_asked: 'rows asked for', cpu_ms: 'milliseconds of processor time', memory_byte: 'bytes of memory' },
    committedTo: 'Committed to, not shown', commitment: 'Commitment', unknownFigure: 'a figure that this page does not know',
    figures: ['rows of the dataset version', 'rows scanned', 'processor time in milliseconds', 'most memory of the local query in bytes'],
    revealed: 'What was revealed', to: 'To', all: 'all that took part', most: 'Numbers at most', convicted: 'Broke the protocol', offence: 'How', evidence: 'SHA-256 of the evidence', privacy: 'Privacy budget spent', mechanism: 'Mechanism', epsilon: 'Epsilon, millionths', delta: 'Delta, parts of 10^15',
    notices: {
      unpinned: () => "TRUST: FROM BUNDLE, UNPINNED. The keys came with the evidence: this shows that the file holds together, not who signed it. Choose a trust file.",
      trust_differs: () => "the bundle's own list of keys differs from the trust file; the trust file was used",
      no_witness: () => 'the trust file asks for no witness: a split view cannot be ruled out',
      single: () => 'single leaves were verified: omissions and duplicates elsewhere in the log cannot show',
      keys_differ: (n) => `leaf ${n.leaf}: the log's list of keys differs from the trust file; the trust file was used`,
      unchecked: (n) => `${n.count} leaves of type ${n.kind}: only their signature was checked`,
      lines_ignored: (n) => `${n.count} signature lines of a checkpoint count for nothing: no trusted key, or not valid`,
      beside_unused: (n) => `${n.count} attestations in the bundle are named by no receipt`,
      papers_unread: (n) => `${n.count} papers are beside the receipt: this page does not read them, tacit-verify does`,
      lines_disputed: (n) => `leaf ${n.leaf}: observers counted different numbers in ${n.count} usage lines, and signed so; these are not billed until a ruling`,
      links_disputed: (n) => `leaf ${n.leaf}: the two ends of ${n.count} links signed different things of what went over them`,
      unattested: (n) => `${n.count} receipts of attempts without a result lack the attestation of a party that was away`,
    },
  },
  zh: {
    title: '验证凭证', other: 'English', lead: '本页面在浏览器内核验一份或数份凭证，不向任何地方发送数据：可保存后离线使用。',
    bundle: '证据包', trust: '信任文件（须从证据包以外的渠道取得）', drop: '请选择文件，或将证据包拖放到此处。',
    limit: '局限：若某作业的全部参与方共同隐瞒，则任何日志均无记录，任何验证均无法发现。',
    valid: '有效', invalid: '无效', unpinnedValid: '文件自洽；未证明由谁签署', receipts: '份凭证', good: '份有效', faults: '处错误', unread: '文件无法读取',
    noCrypto: '此浏览器在当前环境下无法核验 Ed25519 签名。请使用最新版浏览器，并以本地文件、https 或本机地址打开本页面。',
    log: '日志', size: '条目数', root: '根哈希', cosigned: '联署', none: '无受信任的见证方', logKey: '日志密钥', from: '生效', until: '失效', leaf: '条目', theLog: '日志', hint: '处理办法',
    receipt: '凭证', used: (r) => `计算“${r.kind}”自 ${r.started} 运行至 ${r.ended}。`,
    ok: '已得出结果。', aborted: '未得出结果', refused: '已被拒绝',
    authority: '依据合同', noContract: '未列明合同。', spec: '用途见已签署的作业，其哈希为', result: '密封结果的哈希为',
    party: '参与方', role: '角色', standing: '情况', dataset: '数据集', key: '密钥',
    roles: { input: '提供数据', compute: '仅参与计算', result: '接收结果' },
    standings: { took_part: '全程参与', dropped: '中途失联', silent: '从未应答' },
    unit: '计量单位', quantity: '数量', counted: '计数方式', whose: '所属方', committed: '承诺值', disputed: '有异议',
    classes: { A: '至少两方计数一致', B: '由已签署的作业得出', C: '单方自报，不计费' },
    units: { job: '作业', party: '参与方数', cell_in: '掩码提交的数值', cell_out: '结果单元格', cell_suppressed: '抑制的单元格', payload_byte: '有效载荷字节', row_scanned: '读取的行', call: '调用', row_asked: '查询的行', cpu_ms: '处理器毫秒', memory_byte: '内存字节' },
    committedTo: '已承诺而未公开', commitment: '承诺', unknownFigure: '本页面未知的数值',
    figures: ['数据集版本的行数', '读取的行数', '处理器时间（毫秒）', '本地查询的内存峰值（字节）'],
    revealed: '披露内容', to: '披露给', all: '全体参与方', most: '数值至多', convicted: '违反协议方', offence: '行为', evidence: '证据的 SHA-256', privacy: '已用隐私预算', mechanism: '机制', epsilon: 'ε（百万分之一）', delta: 'δ（10 的 15 次方分之一）',
    notices: {
      unpinned: () => '信任：来自证据包，未固定。密钥随证据一同提供：只能表明文件自洽，不能表明由谁签署。请选择信任文件。',
      trust_differs: () => '证据包自带的密钥列表与信任文件不同；已采用信任文件',
      no_witness: () => '信任文件未要求见证方：无法排除分叉视图',
      single: () => '仅验证了单个条目：无法发现日志其他位置的遗漏或重复',
      keys_differ: (n) => `条目 ${n.leaf}：日志的密钥列表与信任文件不同；已采用信任文件`,
      unchecked: (n) => `${n.count} 个类型为 ${n.kind} 的条目：仅验证了签名`,
      lines_ignored: (n) => `检查点中有 ${n.count} 行签名不计入：密钥不受信任或签名无效`,
      beside_unused: (n) => `证据包中有 ${n.count} 份证明未被任何凭证引用`,
      papers_unread: (n) => `凭证旁附有 ${n.count} 份文件：本页面不予解读，请使用 tacit-verify`,
      lines_disputed: (n) => `条目 ${n.leaf}：${n.count} 个用量行的计数方所计数量不一，各方均已如此签署；裁定前不计费`,
      links_disputed: (n) => `条目 ${n.leaf}：${n.count} 条链路的两端所签署的传输内容不一致`,
      unattested: (n) => `${n.count} 份无结果尝试的凭证缺少当时不在线的一方的证明`,
    },
  },
};

const state = { lang: /^zh/i.test(navigator.language) ? 'zh' : 'en', bundle: null, trust: null, found: null, turn: 0 };
const at = (elementId) => document.getElementById(elementId);

/** Text of the evidence with what could upset a page's reading made visible. */
function plain(value) {
  return String(value).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);
}

function element(tag, content, cls) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  made.append(...[content].flat().map((part) => (part instanceof Node ? part : plain(part ?? ''))));
  return made;
}

const time = (millis) => {
  const date = new Date(Number(millis));
  return Number.isNaN(date.getTime()) ? String(millis) : `${date.toISOString().slice(0, 19).replace('T', ' ')}Z`;
};

function table(heads, rows) {
  const cell = (tag) => (value) => element(tag, value, 'said');
  const row = (tag) => (values) => element('tr', values.map(cell(tag)));
  return element('table', [element('thead', row('th')(heads)), element('tbody', rows.map(row('td')))]);
}

function finding(w, { leaf, code: of, what }) {
  const [en, zh, hintEn, hintZh] = CODES[of], chinese = state.lang === 'zh';
  const place = leaf === null ? w.theLog : `${w.leaf} ${leaf}`;
  const item = element('li', [`${place}: ${chinese ? zh : en} (`, element('span', what, 'said'), ') ', element('code', of)], 'fault');
  item.dataset.code = of;
  item.dataset.leaf = leaf === null ? '' : String(leaf);
  item.append(element('div', `${w.hint}: ${chinese ? hintZh : hintEn}`));
  return item;
}

/** A quantity, and beside one that is disputed who counted what else. */
function quantityView(w, seat, { quantity, differing }) {
  const stated = quantity.plain ?? `${w.committed} ${short(quantity.committed)}`;
  return differing ? `${stated} (${w.disputed}: ${differing.map((s) => `${seat(s.seat)} ${s.quantity}`).join(', ')})` : stated;
}

/** What a party committed to of itself; counts of use are of class C. */
function figureRow(w, nameOf, { who, what, commitment }) {
  const counts = what > 0n && what < BigInt(w.figures.length);
  return [w.figures[Number(what)] ?? w.unknownFigure, nameOf(who), short(commitment), counts ? w.classes.C : ''];
}

function receiptView(w, { leaf, receipt, figures }) {
  const { record } = receipt, { status } = record;
  const ended = status.is === 'ok' ? w.ok : `${w[status.is]}: ${CODES[status.code][state.lang === 'zh' ? 1 : 0]} [${status.code}]`;
  const seat = (n) => record.parties[Number(n)]?.name ?? String(n);
  const nameOf = (key) => record.parties.find((p) => p.party === key)?.name ?? short(key);
  const out = [
    element('h2', `${w.receipt}: ${w.leaf} ${leaf}`),
    element('p', `${w.used({ kind: record.kind, started: time(record.started), ended: time(record.ended) })} ${ended}`),
    element('p', record.contracts.length ? `${w.authority}: ${record.contracts.join(', ')}` : w.noContract),
    element('p', `${w.spec} ${record.spec}`),
    table([w.party, w.role, w.standing, w.dataset, w.key], record.parties.map((p) => [p.name, w.roles[p.role], w.standings[p.standing.is], p.dataset ? short(p.dataset) : '', short(p.party)])),
    table([w.unit, w.whose, w.quantity, w.counted], record.lines.map((l) => [w.units[l.unit], seat(l.party), quantityView(w, seat, l), w.classes[l.class]])),
  ];
  if (figures.length) out.push(table([w.committedTo, w.whose, w.commitment, w.counted], figures.map((f) => figureRow(w, nameOf, f))));
  if (record.disclosures.length) out.push(table([w.revealed, w.to, w.most], record.disclosures.map((d) => [d.what, d.to === 'parties' ? w.all : nameOf(d.to), d.cardinality])));
  if (record.privacy.length) out.push(table([w.privacy, w.mechanism, w.epsilon, w.delta], record.privacy.map((p) => [short(p.dataset), p.mechanism, p.epsilon, p.delta ?? 0n])));
  if (record.convictions) out.push(table([w.convicted, w.offence, w.evidence], record.convictions.map((c) => [seat(c.seat), c.offence, c.evidence])));
  if (record.result) out.push(element('p', `${w.result} ${record.result}`));
  return element('section', out);
}

/** The keys that the log has had, oldest first. */
function keysView(w, keys) {
  const at = (millis) => (millis === undefined ? '' : time(millis)), place = (leaf) => (leaf === undefined ? '' : String(leaf));
  return table([w.logKey, w.from, w.until, w.leaf], keys.map((k) => [k.key, at(k.from), at(k.until), place(k.leaf)]));
}

function reportView(w, report) {
  const pinned = report.trust === 'pinned';
  const verdict = report.ok ? (pinned ? w.valid : w.unpinnedValid) : w.invalid;
  const cls = report.ok ? (pinned ? 'valid' : 'held') : 'invalid';
  const head = element('p', `${verdict}: ${report.receipts} ${w.receipts}, ${report.valid} ${w.good}, ${report.faults.length} ${w.faults}`, `verdict ${cls}`);
  const witnesses = report.cosigned.map((c) => `${c.name} ${time(c.time)}`).join(', ') || w.none;
  return [
    head,
    element('ul', report.notices.map((n) => element('li', w.notices[n.notice](n), 'notice'))),
    element('ul', report.faults.map((f) => finding(w, f))),
    table([w.log, w.size, w.root, w.cosigned], [[report.origin, report.size, report.root, witnesses]]),
    ...(report.log_keys.length > 1 ? [keysView(w, report.log_keys)] : []),
    ...report.shown.map((one) => receiptView(w, one)),
  ];
}

function show() {
  const w = WORDS[state.lang];
  document.documentElement.lang = state.lang === 'zh' ? 'zh-CN' : 'en';
  const words = { title: w.title, language: w.other, lead: w.lead, 'bundle-label': w.bundle, 'trust-label': w.trust, 'drop-hint': w.drop, limit: w.limit };
  Object.entries(words).forEach(([elementId, word]) => { at(elementId).textContent = word; });
  const { found } = state, result = at('result');
  result.replaceChildren();
  delete document.body.dataset.done;
  if (!found) return;
  if (found.report) result.append(...reportView(w, found.report));
  else if (found.fault) result.append(element('p', w.unread, 'verdict invalid'), element('ul', finding(w, { leaf: null, code: found.fault.code, what: found.fault.message })));
  else result.append(element('p', w.noCrypto, 'verdict invalid'));
  document.body.dataset.done = String(state.turn);
}

/** Whether this browser checks Ed25519, asked with the first test vector of RFC 8032. */
async function able() {
  const unhex = (string) => Uint8Array.from(string.match(/../g), (byte) => parseInt(byte, 16));
  const key = unhex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
  const signature = unhex('e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b');
  return Boolean(globalThis.crypto?.subtle) && signed(key, new Uint8Array(), signature);
}

async function run() {
  if (!state.bundle) return;
  const turn = ++state.turn;
  const read = async (file) => file && new Uint8Array(await file.arrayBuffer());
  let found;
  try {
    found = (await able()) ? { report: await verifyBundle(await read(state.bundle), await read(state.trust)) } : {};
  } catch (fault) {
    found = { fault: fault instanceof Fault ? fault : new Fault('receipt.bundle', String(fault)) };
  }
  // A file that was chosen meanwhile has its own run.
  if (turn === state.turn) {
    state.found = found;
    show();
  }
}

function start() {
  at('language').addEventListener('click', () => { state.lang = state.lang === 'zh' ? 'en' : 'zh'; show(); });
  for (const which of ['bundle', 'trust']) {
    at(which).addEventListener('change', (event) => { state[which] = event.target.files[0] ?? null; run(); });
  }
  const over = (on) => (event) => { event.preventDefault(); at('drop').classList.toggle('over', on); };
  document.addEventListener('dragover', over(true));
  document.addEventListener('dragleave', over(false));
  document.addEventListener('drop', (event) => {
    over(false)(event);
    [state.bundle] = event.dataTransfer.files;
    run();
  });
  show();
}

start();
