// What the page itself says, in the browser's language. What people and the server say stays as it is.

const english = {
  your_name: "Your name", name_help: "1 to 32 letters, digits, _ or -", come_in: "Come in",
  skip: "To the message field", rooms: "Rooms", your_rooms: "Your rooms", private: "Private",
  other_rooms: "Other rooms", new_room: "Another room", go: "Go", people: "People",
  messages: "Messages", message: "Message", send: "Send", completions: "Completions",
  retry: "Try now", placeholder: "Message to {0}",
  connecting: "connecting…", connected: "connected", apart: "connected, the other machines are out of reach", offline: "no network",
  lost: "connection lost, next try in {0} s", left: "you have left",
  joined: "{0} joined", gone: "{0} left", gone_because: "{0} left ({1})",
  renamed: "{0} is now {1}", topic_set: "{0} set the topic: {1}", topic_gone: "{0} removed the topic",
  missed: "{0} lines were missed here", renewed: "The server has begun this room anew",
  back: "You are back. Private messages sent to you in between may be lost.",
  new_below: "New", newest: "To the newest", newest_count: "{0} new below", away: "away: {0}",
  operator: "operator", you: "you", unread: "{0} unread", password: "password",
  unsent: "This was probably not sent:", again: "Send again", too_long: "That is too long: {0} of {1} bytes. It was not sent.",
  ended: "The chat has ended the connection: {0}", come_back: "Come back here",
  write_to: "Write to {0} alone", older: "Earlier lines", and_more: "and {0} more",
  not_connected: "Not connected: that stays here until you are.",
  alone: "This is between you and {0} only.",
  link_lost: "This machine cannot reach the others of this chat: what you write waits, or is marked ~ until they have it.",
  link_back: "All machines of this chat are joined again.",
  undelivered: "Not delivered ({0}):", waiting: "waiting:", waiting_lines: "On their way",
};

const russian = {
  your_name: "Ваше имя", name_help: "от 1 до 32 букв, цифр, _ или -", come_in: "Войти",
  skip: "К полю сообщения", rooms: "Комнаты", your_rooms: "Ваши комнаты", private: "Личное",
  other_rooms: "Другие комнаты", new_room: "Другая комната", go: "Войти", people: "Люди",
  messages: "Сообщения", message: "Сообщение", send: "Отправить", completions: "Варианты",
  retry: "Сейчас", placeholder: "Сообщение: {0}",
  connecting: "соединение…", connected: "на связи", apart: "на связи, другие серверы недоступны", offline: "нет сети",
  lost: "связь потеряна, новая попытка через {0} с", left: "вы вышли",
  joined: "{0} теперь здесь", gone: "{0} больше не здесь", gone_because: "{0} больше не здесь ({1})",
  renamed: "{0} теперь зовётся {1}", topic_set: "Новая тема от {0}: {1}", topic_gone: "{0}: тема убрана",
  missed: "Здесь пропущено строк: {0}", renewed: "Сервер начал эту комнату заново",
  back: "Вы снова на связи. Личные сообщения, посланные вам за это время, могли потеряться.",
  new_below: "Новое", newest: "К последним", newest_count: "Новых ниже: {0}", away: "отошли: {0}",
  operator: "оператор", you: "вы", unread: "непрочитанных: {0}", password: "пароль",
  unsent: "Вероятно, не отправлено:", again: "Отправить снова", too_long: "Слишком длинно: {0} из {1} байт. Не отправлено.",
  ended: "Чат завершил соединение: {0}", come_back: "Вернуться сюда",
  write_to: "Написать лично: {0}", older: "Более ранние строки", and_more: "и ещё {0}",
  not_connected: "Нет связи: текст останется здесь, пока она не появится.",
  alone: "Это видите только вы и {0}.",
  link_lost: "Этот сервер потерял связь с другими серверами чата: написанное ждёт или помечено ~, пока они его не получат.",
  link_back: "Все серверы чата снова соединены.",
  undelivered: "Не доставлено ({0}):", waiting: "ждёт:", waiting_lines: "В пути",
};

// What commands do; in English the server says it.
const russianCommands = {
  me: "сказать, что вы делаете", msg: "сказать кому-то лично", reply: "ответить на личное",
  users: "кто здесь", rooms: "какие есть комнаты", join: "войти в комнату; новая создаётся",
  leave: "выйти из комнаты", topic: "о чём комната", history: "прежние строки",
  search: "найти строки с этими словами", quote: "повторить строку с этим номером",
  delete: "удалить строку с этим номером", nick: "взять другое имя", away: "сказать, что вас нет; без слов — вы вернулись",
  ignore: "не слышать кого-то", unignore: "слышать снова", help: "список команд", quit: "выйти",
  token: "код для возвращения", lag: "кто отстаёт", oper: "стать оператором",
};

export const language = navigator.language?.toLowerCase().startsWith("ru") ? "ru" : "en";
const words = language === "ru" ? russian : english;

/** The page's words for `key`, with these in their places. */
export function say(key, ...values) {
  return words[key].replace(/\{(\d)\}/g, (_, place) => values[place]);
}

export function purpose(command) {
  return (language === "ru" && russianCommands[command.name]) || command.purpose;
}

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "full" });
export const hour = (time) => clock.format(time);
export const day = (time) => calendar.format(time);
