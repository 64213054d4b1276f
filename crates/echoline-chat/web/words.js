// What the page itself says, in the browser's language. What people and the server say stays as it is.

const english = {
  your_name: "Your name", name_help: "1 to 32 letters, digits, _ or -", come_in: "Come in",
  skip: "To the message field", rooms: "Rooms", your_rooms: "Your rooms", private: "Private",
  private_one: "Private",
  other_rooms: "Other rooms", new_room: "Another room", go: "Go", people: "People",
  messages: "Messages", message: "Message", send: "Send", completions: "Completions",
  retry: "Try now", placeholder: "Message to {0}", placeholder_private: "To {0} only",
  connecting: "connecting…", connected: "connected", apart: "connected, the other machines are out of reach", offline: "no network",
  lost: "connection lost, next try in {0} s", left: "you have left",
  joined: "{0} joined", gone: "{0} left", gone_because: "{0} left ({1})",
  renamed: "{0} is now {1}", topic_set: "{0} set the topic: {1}", topic_gone: "{0} removed the topic",
  missed: "{0} lines were missed here", renewed: "The server has begun this room anew",
  back: "You are back. Private messages sent to you in between may be lost.",
  new_below: "New", newest: "To the newest messages", newest_count: "{0} new below", away: "away: {0}",
  operator: "operator", you: "you", unread: "{0} unread", password: "password",
  unsent: "This was probably not sent:", unknown: "It is not known whether this arrived:",
  again: "Send again", edit: "Edit", refused: "Not sent ({0}):", too_long: "The message is too long: {0} bytes, the limit is {1}. It was not sent.",
  line_too_long: "Line {0} of {1} is too long: {2} bytes, the limit is {3}. Nothing was sent.",
  ended: "The chat has ended the connection: {0}", come_back: "Come back here",
  write_to: "Write to {0} alone", older: "Earlier lines", and_more: "and {0} more",
  not_connected: "Not connected: that stays here until you are.",
  alone: "This is between you and {0} only.",
  link_lost: "This machine cannot reach the others of this chat: what you write waits, or is marked ~ until they have it.",
  link_back: "All machines of this chat are joined again.",
  undelivered: "Not delivered ({0}):", waiting: "waiting:", waiting_lines: "On their way",
  not_connected_click: "Not connected: try that again later.",
  person_gone: "{0} has left the chat.", person_back: "{0} is back.", has_left: "has left",
  person_gone_kept: "{0} has left the chat: your text stays here.",
  nobody: "{0} is not in the chat.",
  namesake: "This {0} is not the {0} of the other private thread. It is between you and this {0} only.",
  fold_joined: "{0} joined", fold_left: "{0} left", fold_visit: "{0} joined and left again",
  fold_back: "{0} left and came back", details: "Show each of them",
  paste: "Paste {0} lines? Each one becomes a message.", paste_yes: "Paste", cancel: "Cancel",
  leave_room: "Leave {0}", close_thread: "Close the private thread with {0}", log_out: "Log out",
  notify_on: "Notifications: on", notify_off: "Notifications: off",
  notify_blocked: "The browser does not allow notifications of this page.",
};

const russian = {
  your_name: "Ваше имя", name_help: "от 1 до 32 знаков: буквы, цифры, _ или -", come_in: "Войти",
  skip: "К полю сообщения", rooms: "Комнаты", your_rooms: "Ваши комнаты", private: "Личные сообщения",
  private_one: "Лично",
  other_rooms: "Другие комнаты", new_room: "Другая комната", go: "Войти", people: "Люди",
  messages: "Сообщения", message: "Сообщение", send: "Отправить", completions: "Варианты",
  retry: "Повторить сейчас", placeholder: "Сообщение: {0}", placeholder_private: "Только для {0}",
  connecting: "подключение…", connected: "на связи", apart: "на связи, другие серверы недоступны", offline: "нет сети",
  lost: "связь потеряна, новая попытка через {0} с", left: "вы вышли",
  joined: "{0} входит в чат", gone: "{0} покидает чат", gone_because: "{0} покидает чат ({1})",
  renamed: "{0} меняет имя на {1}", topic_set: "{0} меняет тему: {1}", topic_gone: "{0} убирает тему",
  missed: "Здесь пропущено сообщений: {0}", renewed: "Комната создана на сервере заново",
  back: "Вы снова на связи. Личные сообщения, отправленные вам за это время, могли потеряться.",
  new_below: "Новое", newest: "К последним сообщениям", newest_count: "Новых ниже: {0}", away: "нет на месте: {0}",
  operator: "оператор", you: "вы", unread: "непрочитанных: {0}", password: "пароль",
  unsent: "Вероятно, не отправлено:", unknown: "Неизвестно, доставлено ли это:",
  again: "Отправить ещё раз", edit: "Изменить", refused: "Не отправлено ({0}):",
  too_long: "Сообщение слишком длинное: {0} байт, предел {1}. Не отправлено.",
  line_too_long: "Строка {0} из {1} слишком длинная: {2} байт, предел {3}. Ничего не отправлено.",
  ended: "Чат завершил соединение: {0}", come_back: "Вернуться сюда",
  write_to: "Написать лично: {0}", older: "Более ранние сообщения", and_more: "и ещё {0}",
  not_connected: "Нет связи: текст останется здесь, пока она не появится.",
  alone: "Это видите только вы и {0}.",
  link_lost: "Этот сервер потерял связь с другими серверами чата: написанное ждёт или помечено ~, пока они его не получат.",
  link_back: "Все серверы чата снова соединены.",
  undelivered: "Не доставлено ({0}):", waiting: "ожидает отправки:", waiting_lines: "Отправляется",
  not_connected_click: "Нет связи: повторите позже.",
  person_gone: "{0} больше не в чате.", person_back: "{0} снова в чате.", has_left: "не в чате",
  person_gone_kept: "{0} больше не в чате: текст останется здесь.",
  nobody: "{0}: такого пользователя нет в чате.",
  namesake: "Это другой пользователь с именем {0}, не тот, что в прежнем диалоге. Диалог видите только вы и он.",
  fold_joined: "входят в чат: {0}", fold_left: "покидают чат: {0}", fold_visit: "заходили и вышли: {0}",
  fold_back: "вышли и вернулись: {0}", details: "Показать по отдельности",
  paste: "Вставить строк: {0}? Каждая станет сообщением.", paste_yes: "Вставить", cancel: "Отмена",
  leave_room: "Выйти из комнаты {0}", close_thread: "Закрыть диалог с {0}", log_out: "Выйти из чата",
  notify_on: "Уведомления: включены", notify_off: "Уведомления: выключены",
  notify_blocked: "Браузер не разрешает уведомления этой страницы.",
};

// What commands do; in English the server says it.
const russianCommands = {
  me: "сказать, что вы делаете", msg: "сказать кому-то лично", reply: "ответить на личное",
  users: "кто здесь", rooms: "какие есть комнаты", join: "войти в комнату; новая создаётся",
  leave: "выйти из комнаты", topic: "тема комнаты", history: "история",
  search: "найти сообщения с этими словами", quote: "повторить сообщение с этим номером",
  delete: "удалить сообщение с этим номером", nick: "взять другое имя", away: "сказать, что вас нет; без слов — вы вернулись",
  ignore: "скрыть сообщения", unignore: "снова показывать сообщения", help: "список команд", quit: "выйти",
  token: "код для возвращения", lag: "кто отстаёт", oper: "стать оператором",
  numbers: "показывать номера сообщений", times: "показывать время с секундами",
  quiet: "скрыть, кто входит и выходит", resume: "вернуться по коду", status: "состояние серверов", whois: "где пользователь и откуда",
  op: "сделать оператором", deop: "больше не оператор", kick: "удалить из комнаты",
  ban: "запретить вход", unban: "снова разрешить вход", bans: "кому запрещён вход",
  mute: "запретить писать", unmute: "снова разрешить писать", invite: "пригласить в закрытую комнату",
  private: "вход только по приглашению", password: "вход по паролю", audit: "журнал операторов",
  forget: "удалить комнату и всё, что в ней сказано",
  penalties: "кто превысил частоту; end: простить",
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
const exact = new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" });
const list = new Intl.ListFormat(language, { type: "conjunction" });
export const hour = (time) => clock.format(time);
export const second = (time) => exact.format(time);
export const names = (several) => list.format(several);
export const day = (time) => calendar.format(time);
