// Russian translations of the server's sentences. Messages have no codes, so the English sentence
// is the key. `{0}` is a name, a number or a text. `<0>` is a clause that is translated too.

import { language, purpose, usage } from "./words.js";

const sentences = {
  // Names and tokens
  "The name {0} is taken; choose another": "Имя {0} занято, выберите другое",
  "That name looks too much like {0}, who is here; choose another":
    "Имя слишком похоже на имя {0}, а этот пользователь уже в чате; выберите другое",
  "The name '{0}' is reserved: choose another": "Имя «{0}» зарезервировано, выберите другое",
  "The room name '{0}' is reserved: choose another":
    "Название комнаты «{0}» зарезервировано, выберите другое",
  "A name is 1 to {0} letters, digits, _ or -": "Имя — от 1 до {0} знаков: буквы, цифры, _ или -",
  "A name is 1 to {0} letters, digits, _ or -<1>":
    "Имя — от 1 до {0} знаков: буквы, цифры, _ или -<1>",
  "A room name is 1 to {0} letters, digits, _ or -<1>":
    "Название комнаты — от 1 до {0} знаков: буквы, цифры, _ или -<1>",
  "That token is unknown or has expired; type a name": "Код неизвестен или устарел; введите имя",
  "<0>. Try /resume {1} again later": "<0>. Попробуйте /resume {1} позже",
  "Your name is already {0}": "Вас уже зовут {0}",
  "Your name is taken; you are now {0}": "Ваше имя занято, теперь вы {0}",
  "/resume {0} restores this session from any connection":
    "/resume {0} восстановит этот сеанс из любого соединения",
  "/resume {0} restores this session and your operator rights":
    "/resume {0} восстановит этот сеанс и ваши права оператора",
  "/resume works only at the start of a connection: type it instead of your name":
    "/resume действует только в начале соединения: введите его вместо имени",

  // The end of a connection
  "Connection timeout. Goodbye!": "Время ожидания истекло. До свидания!",
  "The server is shutting down. Goodbye!": "Сервер завершает работу. До свидания!",
  "Server error. Goodbye!": "Ошибка сервера. До свидания!",
  "The server is nearly full, and you have been silent <0>. Goodbye!":
    "Сервер почти заполнен, а вы молчите <0>. До свидания!",
  "You continue in another connection": "сеанс продолжен в другом соединении",
  "The chat starts over, because its stream was replaced; connect again":
    "Чат начат заново, потому что его журнал заменён; подключитесь снова",

  // Rates
  "Too many <0> from your address; try again in {1} s":
    "Слишком много <0> с вашего адреса; повторите через {1} с",
  "Slow down, or you will be muted": "Пишите медленнее, иначе вам временно запретят писать",
  "You wrote too fast and are muted for {0} s":
    "Вы писали слишком быстро и не сможете писать {0} с",
  "You wrote too fast and are muted for {0} s more":
    "Вы писали слишком быстро и не сможете писать ещё {0} с",
  "Not sent: you wrote too fast and are muted for {0} s":
    "Не отправлено: вы писали слишком быстро и не сможете писать {0} с",
  "Not sent: you are muted for {0} s more": "Не отправлено: вы не сможете писать ещё {0} с",
  "A user from your address wrote too fast and left: you are muted for {0} s":
    "Пользователь с вашего адреса писал слишком быстро и вышел: вы не сможете писать {0} с",
  "You are no longer muted; {0} {1} {2} not sent":
    "Вы снова можете писать; не отправлено сообщений: {0}",

  // Lines that are not sent
  "You are muted in this room": "Вам запрещено писать в этой комнате",
  "You are muted in this room <0>": "Вам запрещено писать в этой комнате <0>",
  "You are no longer in this room": "Вас больше нет в этой комнате",
  "You are not in that room": "Вас нет в этой комнате",
  "That user has left": "Этот пользователь вышел из чата",
  "Not delivered: {0} has left": "Не доставлено: {0} больше не в чате",
  "Not delivered: the mailbox of {0} is full": "Не доставлено: ящик пользователя {0} переполнен",
  "Not delivered to {0}: <1>": "Не доставлено для {0}: <1>",
  "That line is not UTF-8 and was not sent": "Сообщение не в UTF-8 и не отправлено",
  "That line was too long (limit {0} bytes) and was not sent":
    "Сообщение слишком длинное (предел {0} байт) и не отправлено",
  "send each line in its own message": "Отправьте каждую строку отдельным сообщением",
  "Not done: <0>": "Не выполнено: <0>",

  // Commands
  "There is no /{0}. Did you mean /{1}? /help lists all.":
    "Команды /{0} нет. Возможно, вы имели в виду /{1}? Список команд: /help.",
  "There is no /{0}. /help lists all.": "Команды /{0} нет. Список команд: /help.",
  "There is no /{0}. <1>.": "Команды /{0} нет. <1>.",
  "A command needs a name after the /: /help lists them, and //text says /text":
    "После / нужна команда: список даёт /help, а //текст отправит /текст",
  "Wrong arguments for /{0}: type <1>, for example {2}":
    "Команда /{0} введена неверно. Нужно: <1>, например: {2}",
  "'{0}' is not a duration: type <1>, with 10m, 2h, 1h30m, 3 days, 1w or forever":
    "«{0}» — не срок. Нужно: <1>, где СРОК — 10m, 2h, 1h30m, 3 days, 1w или forever",
  "A kick has no duration: /ban NAME 10m keeps a user out for 10 minutes":
    "У /kick нет срока: /ban ИМЯ 10m не пустит пользователя 10 минут",
  "For example: {0}": "Например: {0}",
  "Only an operator can do that": "Это может только оператор",
  "Only an operator of the whole chat can do that (/oper PASSWORD)":
    "Это может только оператор всего чата (/oper ПАРОЛЬ)",
  "That command works only in a room: open the room, and type it there":
    "Эта команда действует только в комнате: откройте комнату и введите её там",
  "numbers <0>": "номера сообщений: <0>",
  "times <0>": "время с секундами: <0>",
  "quiet <0>": "скрывать входы и выходы: <0>",

  // Rooms
  "You are now talking in {0}": "Вы пишете в комнату {0}",
  "You are now talking in {0}: no one else is here":
    "Вы пишете в комнату {0}: кроме вас, здесь никого нет",
  "You are now talking in {0}: {1} users": "Вы пишете в комнату {0}: участников {1}",
  "You left {0} and are now talking in {1}": "Вы вышли из комнаты {0} и пишете в комнату {1}",
  "You are already in {0}": "Вы уже в комнате {0}",
  "You are not in {0}": "Вас нет в комнате {0}",
  "You are not in a room: /join ROOM joins one, /rooms lists them":
    "Вы не в комнате: /join КОМНАТА — войти, /rooms — список комнат",
  "This is your only room; /quit leaves the chat":
    "Это ваша единственная комната; /quit — выйти из чата",
  "{0} is private: only invited users can join":
    "Комната {0} закрыта: войти можно только по приглашению",
  "{0} needs the right password: /join {1} PASSWORD":
    "Комната {0} открывается по паролю: /join {1} ПАРОЛЬ",
  "The chat has too many rooms; join one that /rooms lists":
    "В чате слишком много комнат; войдите в одну из списка /rooms",
  "Your address has created {0} rooms, the limit; join one that /rooms lists":
    "С вашего адреса создано комнат: {0}, это предел; войдите в одну из списка /rooms",
  "You are in too many rooms; /leave one first":
    "Вы в слишком многих комнатах; сначала выйдите из одной: /leave",
  "You could not join {0}": "Войти в комнату {0} не удалось",
  "You did not join {0}: <1>": "Вы не вошли в комнату {0}: <1>",
  "There is no room {0}": "Комнаты {0} нет",
  "There is no room {0} that you can see": "Комнаты {0} нет, или она вам не видна",
  "No one is in {0}": "В комнате {0} никого нет",
  "Online: {0}": "В комнате: {0}",
  "Online in {0}: {1}": "В комнате {0}: {1}",
  "No one is behind": "Никто не отстаёт",
  "Lines behind: {0}": "Отстают (на сколько сообщений): {0}",
  "and {0} more": "и ещё {0}",
  "--- 1 earlier line ---": "--- предыдущих сообщений: 1 ---",
  "--- {0} earlier lines ---": "--- предыдущих сообщений: {0} ---",
  "No topic is set": "Тема не задана",
  "Topic: {0}": "Тема: {0}",
  "{0} invites you: /join {1}": "{0} приглашает вас: /join {1}",
  "{0} removed the room {1} and its history": "{0} удаляет комнату {1} и её историю",
  "You were removed from {0} while this node was not connected":
    "Вас удалили из комнаты {0}, пока этот сервер был без связи",
  "You were kicked from {0} by {1}": "{1} удаляет вас из комнаты {0}",
  "You were kicked from {0} by {1}: {2}": "{1} удаляет вас из комнаты {0}: {2}",
  "You are banned from <0>": "Вы заблокированы <0>",
  "You are banned from <0>: {1}": "Вы заблокированы <0>: {1}",
  "You are banned from <0> until {1}": "Вы заблокированы <0> до {1}",
  "You are banned from <0> until {1}: {2}": "Вы заблокированы <0> до {1}: {2}",
  "The server was started again": "Сервер перезапущен",
  "Line {0} was deleted by {1}": "{1} удаляет сообщение {0}",
  "{0} is an operator of this room now: it had none for a day":
    "{0} теперь оператор этой комнаты: у неё не было оператора сутки",
  "{0} <1>, and with it {2}": "Сервер {0} <1>, вместе с ним вышли: {2}",
  "The history cannot be saved now; the chat continues without it":
    "История сейчас не сохраняется; чат продолжает работать",
  "The history is saved again; <0>": "История снова сохраняется; <0>",

  // Earlier lines
  "There is no line {0}": "Сообщения {0} нет",
  "There are no such lines": "Таких сообщений нет",
  "There is more: {0} shows the next lines": "Это не всё: {0} покажет следующие",
  "There is more: {0} shows the earlier lines": "Это не всё: {0} покажет предыдущие",
  "The history cannot be read now; try again later":
    "Историю сейчас не прочитать; попробуйте позже",
  "Nothing was found": "Ничего не найдено",
  "<0> back to line {1}: /search without words continues":
    "<0> до сообщения {1}: /search без слов ищет дальше",
  "There is no search to continue in this room: /search WORDS starts one":
    "В этой комнате нечего искать дальше: начните с /search СЛОВА",
  "Too many searches are running: try again in a moment":
    "Сейчас слишком много поисков: попробуйте чуть позже",
  "Line {0} is already deleted": "Сообщение {0} уже удалено",
  "Line {0} has no text to delete": "В строке {0} нет текста, который можно удалить",
  "Line {0} is not yours: only an operator can delete it":
    "Сообщение {0} не ваше: удалить его может только оператор",

  // Other users
  "There is no user {0}; /users lists the users here":
    "Пользователя {0} здесь нет; /users покажет участников",
  "You have no private message to answer: /msg NAME WORDS sends one":
    "Вам ещё не писали лично: /msg ИМЯ ТЕКСТ отправит личное сообщение",
  "The last user who wrote to you has left": "Тот, кто писал вам последним, вышел из чата",
  "You cannot send a private message to yourself": "Себе писать нельзя",
  "{0} is away": "{0}: нет на месте",
  "{0} is away: {1}": "{0}: нет на месте ({1})",
  "You are marked as away: {0}": "Вы отмечены как отсутствующий: {0}",
  "You are no longer marked as away": "Вы снова на месте",
  "An away message can have at most {0} characters":
    "В сообщении об отсутствии может быть не больше {0} знаков",
  "Ignored: {0}": "Скрыты сообщения: {0}",
  "You ignore no one": "Вы не скрываете ничьи сообщения",
  "You cannot ignore yourself": "Скрыть собственные сообщения нельзя",
  "You no longer see what {0} says; /unignore {1} undoes that":
    "Сообщения {0} скрыты; /unignore {1} вернёт их",
  "You see what {0} says again": "Сообщения {0} снова видны",
  "You do not ignore {0}": "Сообщения {0} и так видны",
  "You already ignore too many users; /ignore lists them":
    "Вы скрываете слишком многих; список даёт /ignore",
  "{0} is in {1}": "{0} в комнатах: {1}",

  // Operators
  "Wrong operator password": "Неверный пароль оператора",
  "You are now an operator: /help lists your commands":
    "Вы теперь оператор: список команд даёт /help",
  "You are no longer an operator of the chat": "Вы больше не оператор чата",
  "You are no longer an operator of the chat: its password has changed":
    "Вы больше не оператор чата: его пароль изменён",
  "You are <0> of {1}": "Вы <0> ({1})",
  "{0} is an operator": "{0} — оператор чата",
  "{0} is <1> of {2}": "{0} <1> ({2})",
  "{0} is not in {1}": "{0}: нет в комнате {1}",
  "You kicked {0} from {1}": "Вы удалили {0} из комнаты {1}",
  "You invited {0} to {1}": "Вы пригласили {0} в комнату {1}",
  "You banned {0} from <1> for good": "Вы заблокировали {0} навсегда (<1>)",
  "You banned {0} from <1> until {2}": "Вы заблокировали {0} до {2} (<1>)",
  "{0} may join <1> again": "Снята блокировка: {0} (<1>)",
  "{0} is not banned; /bans lists the bans": "{0} не в списке блокировок; его даёт /bans",
  "There are no bans": "Блокировок нет",
  "The ban covers the name {0}, and this user under any name: session and token":
    "Блокировка действует на имя {0} и на этого пользователя под любым именем: сеанс и код",
  "The ban covers only the name: no user has it or had it recently":
    "Блокировка действует только на имя: ни у кого его нет и недавно не было",
  "The ban covers the whole /64 network, because one host can use all of it":
    "Блокировка действует на всю сеть /64, потому что вся она может быть у одного компьютера",
  "The reason for a ban can have at most {0} characters":
    "В причине блокировки может быть не больше {0} знаков",
  "An operator of the chat can also see and ban their address":
    "Оператор чата может увидеть и заблокировать и адрес",
  "This chat runs on one node, with {0} users": "Чат работает на одном сервере, пользователей: {0}",
  "This is node {0} of the cluster {1}; the link is <2>": "Это сервер {0} кластера {1}; связь: <2>",
  "Nodes and their users: {0}": "Серверы и их пользователи: {0}",
  "Stream entry {0}; {1} messages from here wait, {2} were not delivered":
    "Запись журнала {0}; ждут отправки: {1}, не доставлено: {2}",
  "You muted {0} in {1} <2>": "Вы запретили {0} писать в комнате {1} <2>",
  "You unmuted {0} in {1}": "Вы разрешили {0} писать в комнате {1}",
  "You were <0> in {1}": "<0> в комнате {1}",
  "Only invited users can join this room now (/invite NAME), and /rooms does not list it":
    "Теперь в эту комнату входят только по приглашению (/invite ИМЯ), и её нет в списке /rooms",
  "All users can join this room now": "Теперь в эту комнату могут войти все",
  "This room no longer has a password": "У комнаты больше нет пароля",
  "Users now need this password: /join ROOM PASSWORD":
    "Теперь для входа нужен этот пароль: /join КОМНАТА ПАРОЛЬ",
  "You removed the room {0}": "Вы удалили комнату {0}",
  "{0} is the lobby, which cannot be removed": "{0} — общая комната, её нельзя удалить",
  "The audit log is empty": "Журнал действий операторов пуст",
  "Too many passwords are being checked: try again in a moment":
    "Сейчас проверяется слишком много паролей: попробуйте чуть позже",
  "The password could not be set; try again": "Задать пароль не удалось; попробуйте ещё раз",
};

/** Parts of sentences, which replace `<0>` and so on. */
const clauses = {
  ", for example {0}": ", например {0}",
  ": <0>": ": <0>",
  "this chat": "в этом чате",
  "the room {0}": "в комнате {0}",
  "the chat": "весь чат",
  "connections": "соединений",
  "login attempts": "попыток входа",
  "wrong passwords or tokens": "неверных паролей и кодов",
  "wrong operator passwords": "неверных паролей оператора",
  "new rooms": "новых комнат",
  "new tokens": "новых кодов",
  "moderation commands": "команд оператора",
  "searches and lists": "поисков и списков",
  "nothing was lost": "ничего не потеряно",
  "{0} changes were lost": "потеряно изменений: {0}",
  "Searched": "Поиск дошёл",
  "an operator": "теперь оператор",
  "no longer an operator": "больше не оператор",
  "muted": "Вам запретили писать",
  "unmuted": "Вам снова разрешили писать",
  "is gone": "пропал",
  "is shut down": "остановлен",
  "fell behind": "отстал",
  "began anew": "начал заново",
  "up": "есть",
  "lost, messages wait": "потеряна, сообщения ждут",
  "on": "вкл.",
  "off": "выкл.",
  "for good": "навсегда",
  "until {0}": "до {0}",
  "for less than a minute": "меньше минуты",
  "for 1 minute": "минуту",
  "for {0} minutes": "{0} мин",
  "'{0}' has an accent without a letter": "в «{0}» есть диакритический знак без буквы",
  "'{0}' has more than {1} accents on one letter":
    "в «{0}» больше {1} диакритических знаков на одной букве",
  "'{0}' has no letter or digit": "в «{0}» нет ни буквы, ни цифры",
  "'{0}' has <1>": "в «{0}» есть <1>",
  "a space": "пробел",
  "a control character ({0})": "управляющий знак ({0})",
  "an invisible character ({0})": "невидимый знак ({0})",
  "'{0}'": "знак «{0}»",
  "'{0}' is too long": "«{0}» слишком длинное",
  "you are no longer in that room": "вас больше нет в этой комнате",
  "you are muted there <0>": "вам запрещено писать там <0>",
  "only an operator can do that": "это может только оператор",
  "the user, room or line no longer exists":
    "такого пользователя, комнаты или сообщения больше нет",
  "the recipient's mailbox is full": "ящик получателя переполнен",
  "the list of {0} bans is full: /bans shows it, /unban lifts a ban":
    "список блокировок заполнен ({0}): /bans покажет его, /unban снимет одну",
  "the link to the other nodes is lost": "потеряна связь с другими серверами",
  "the other nodes removed this node": "другие серверы исключили этот",
  "timed out": "время истекло",
  "read nothing for {0} s": "не отвечает {0} с",
  "goes on elsewhere": "продолжает в другом соединении",
  "kicked by {0}": "удаляет {0}",
  "kicked by {0}: {1}": "удаляет {0}: {1}",
  "the room was removed": "комната удалена",
  "Type /away without words when you are back": "Когда вернётесь, введите /away без слов",
  "Type your message without /say": "Просто введите сообщение без /say",
  "Clear the screen with your terminal, usually with Ctrl-L":
    "Экран очищает терминал, обычно по Ctrl-L",
  "/lag shows which users are behind, and by how many lines":
    "/lag покажет, кто отстаёт и на сколько сообщений",
  "/times on shows the time of each line": "/times on покажет время сообщений с секундами",
  "There are no accounts: /token shows a token, /resume TOKEN restores your session":
    "Учётных записей нет: /token покажет код, /resume КОД восстановит сеанс",
  "/private, /password and /op change a room; /help lists all commands":
    "Комнату меняют /private, /password и /op; список команд даёт /help",
  "/ban NAME 10m removes a user, and keeps them out for 10 minutes":
    "/ban ИМЯ 10m удаляет пользователя и не пускает его 10 минут",
};

const HOLE = /[{<]\d[}>]/g;

/** Returns a pattern for each entry. Entries with more fixed text come first. */
function compile(table) {
  const escaped = (text) => text.replace(/[.*+?^$()|[\]\\/]/g, "\\$&");
  return Object.entries(table).map(([english, russian]) => {
    // A variable part at the beginning of a sentence is a name, which has no spaces.
    const any = (hole, place) => (place === 0 && hole[0] === "{" ? "(\\S+)" : "(.+?)");
    const pattern = escaped(english).replace(HOLE, any);
    const own = english.replace(HOLE, "").length;
    // An entry that begins with a clause must be tried before the entry of that clause alone.
    const weight = english[0] === "<" ? own + 1000 : own;
    return { pattern: new RegExp(`^${pattern}$`, "su"), russian, weight };
  }).sort((one, other) => other.weight - one.weight);
}

const known = language === "ru"
  ? { sentences: compile(sentences), clauses: compile(clauses) } : null;

function find(patterns, text) {
  for (const { pattern, russian } of patterns) {
    const found = pattern.exec(text);
    if (!found) continue;
    return russian.replace(/\{(\d)\}|<(\d)>/g, (_, raw, clause) =>
      (raw !== undefined ? found[Number(raw) + 1] : translatedPart(found[Number(clause) + 1])));
  }
  return null;
}

function translatedPart(text) {
  const found = find(known.clauses, text) ?? find(known.sentences, text);
  return found ?? (text.startsWith("/") ? usage({ usage: text }) : text);
}

/** Translates a line of `/help`: the usage and the purpose of a command. */
function helpLine(text, commands) {
  const command = commands.find((one) => text.startsWith(one.usage) && text.includes(one.purpose));
  if (!command) return null;
  const forOperators = text.endsWith(" (for operators)") ? " (для операторов)" : "";
  return `${usage(command)} — ${purpose(command)}${forOperators}`;
}

/**
 * Returns a sentence of the server in the language of the page. Unknown sentences are unchanged.
 */
export function translated(text, commands = []) {
  if (!known || /^[#>]/.test(text)) return text;
  const inner = text.replace(/^\*\*\* (.*) \*\*\*$/su, "$1");
  return find(known.sentences, inner) ?? helpLine(inner, commands) ?? text;
}

/** Translates the reason why a user left. A reason that the user typed is unchanged. */
export const translatedReason = (text) => (known ? find(known.clauses, text) ?? text : text);
