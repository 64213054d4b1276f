// The texts of the page, in the user's language. Texts of users are not translated.

const english = {
  your_name: "Your name", name_help: "1 to 32 letters, digits, _ or -", come_in: "Join the chat",
  skip: "Skip to the message field", rooms: "Rooms", your_rooms: "Your rooms",
  private: "Private messages", private_one: "Private", other_rooms: "Other rooms",
  new_room: "Join or create a room", go: "Join", people: "Users", messages: "Messages",
  message: "Message", send: "Send", completions: "Suggestions", retry: "Retry now",
  placeholder: "Message to {0}", placeholder_private: "Private message to {0}",
  connecting: "connecting…", connected: "connected",
  apart: "connected, but other nodes are unreachable", offline: "offline",
  lost: "connection lost, retrying in {0} s", left: "you have left the chat", joined: "{0} joined",
  gone: "{0} left", gone_because: "{0} left ({1})", renamed: "{0} is now {1}",
  topic_set: "{0} set the topic: {1}", topic_gone: "{0} removed the topic",
  missed: "Messages missed here: {0}", renewed: "The room was created again on the server",
  back: "You are connected again. Private messages sent to you in the meantime may be lost.",
  new_below: "New messages", newest_count: "New messages below: {0}", away: "away: {0}",
  operator: "operator", you: "you", unread: "{0} unread", password: "password",
  unsent: "This message was probably not sent:", unknown: "This message may not have arrived:",
  again: "Send again", edit: "Edit", refused: "{0}. Your message:",
  too_long: "Not sent: the message has {0} bytes, and the limit is {1}.",
  line_too_long: "Not sent: line {0} of {1} has {2} bytes, and the limit is {3}.",
  ended: "The chat closed the connection: {0}", come_back: "Reconnect",
  write_to: "Send a private message to {0}", and_more: "and {0} more",
  not_connected: "Not connected: your message stays here until you are.",
  alone: "Only you and {0} can see this.",
  link_lost:
    "This node cannot reach the other nodes of the chat. Your messages wait, or have a ~ "
    + "until the other nodes receive them.",
  link_back: "All nodes of the chat are connected again.", undelivered: "Not delivered ({0}):",
  waiting: "sending:", waiting_lines: "Messages being sent",
  not_connected_click: "Not connected: try again later.", person_gone: "{0} has left the chat.",
  person_back: "{0} is back.", has_left: "has left",
  person_gone_kept: "{0} has left the chat: your message stays here.",
  nobody: "{0} is not in the chat.",
  namesake:
    "This {0} is a different user than the {0} of your other private chat. Only you and this "
    + "{0} can see this.",
  fold_joined: "{0} joined", fold_left: "{0} left", fold_visit: "{0} joined and left",
  fold_back: "{0} left and came back", details: "Show each join and leave",
  paste: "Paste {0} lines? Each line becomes a message.", paste_yes: "Paste", cancel: "Cancel",
  leave_room: "Leave {0}", close_thread: "Close the private chat with {0}", log_out: "Log out",
  notify_on: "Notifications: on", notify_off: "Notifications: off",
  notify_blocked: "The browser blocks notifications from this page.",
};

const russian = {
  your_name: "Ваше имя", name_help: "от 1 до 32 знаков: буквы, цифры, _\u00a0или\u00a0-", come_in: "Войти",
  skip: "Перейти к полю ввода", rooms: "Комнаты", your_rooms: "Ваши комнаты",
  private: "Личные сообщения", private_one: "Личное", other_rooms: "Другие комнаты",
  new_room: "Войти или создать комнату", go: "Войти", people: "Участники",
  messages: "Сообщения", message: "Сообщение", send: "Отправить", completions: "Подсказки",
  retry: "Повторить сейчас", placeholder: "Сообщение в {0}",
  placeholder_private: "Личное сообщение для {0}", connecting: "подключение…",
  connected: "подключено", apart: "подключено, но другие серверы недоступны", offline: "нет сети",
  lost: "связь потеряна, новая попытка через {0} с", left: "вы вышли из чата",
  joined: "{0} входит в чат", gone: "{0} покидает чат", gone_because: "{0} покидает чат ({1})",
  renamed: "{0} меняет имя на {1}", topic_set: "{0} меняет тему: {1}",
  topic_gone: "{0} убирает тему", missed: "Здесь пропущено сообщений: {0}",
  renewed: "Комната создана на сервере заново",
  back: "Вы снова на связи. Личные сообщения, отправленные вам за это время, могли потеряться.",
  new_below: "Новые сообщения", newest_count: "Новых сообщений ниже: {0}",
  away: "нет на месте: {0}", operator: "оператор", you: "вы", unread: "непрочитанных: {0}",
  password: "по паролю", unsent: "Сообщение, вероятно, не отправлено:",
  unknown: "Сообщение могло не дойти:", again: "Отправить ещё раз", edit: "Изменить",
  refused: "{0}. Ваше сообщение:",
  too_long: "Сообщение слишком длинное: {0} байт, предел {1}. Оно не отправлено.",
  line_too_long: "Строка {0} из {1} слишком длинная: {2} байт, предел {3}. Ничего не отправлено.",
  ended: "Чат закрыл соединение: {0}", come_back: "Подключиться снова",
  write_to: "Написать лично: {0}", and_more: "и ещё {0}",
  not_connected: "Нет связи: текст останется здесь, пока она не появится.",
  alone: "Это видите только вы и {0}.",
  link_lost:
    "Этот сервер потерял связь с другими серверами чата. Ваши сообщения ждут отправки или "
    + "отмечены знаком ~, пока их не получат другие серверы.",
  link_back: "Все серверы чата снова на связи.", undelivered: "Не доставлено ({0}):",
  waiting: "ожидает отправки:", waiting_lines: "Отправляется",
  not_connected_click: "Нет связи: попробуйте позже.", person_gone: "{0} больше не в чате.",
  person_back: "{0} снова в чате.", has_left: "не в чате",
  person_gone_kept: "{0} больше не в чате: текст останется здесь.",
  nobody: "Пользователя {0} нет в чате.",
  namesake:
    "Это другой пользователь с именем {0}, не тот, с кем вы переписывались раньше. Это "
    + "видите только вы и он.",
  fold_joined: "вошли: {0}", fold_left: "вышли: {0}", fold_visit: "вошли и вышли: {0}",
  fold_back: "вышли и вернулись: {0}", details: "Показать по отдельности",
  paste: "Вставить строк: {0}? Каждая станет отдельным сообщением.", paste_yes: "Вставить",
  cancel: "Отмена", leave_room: "Выйти из комнаты {0}", close_thread: "Закрыть личный чат с {0}",
  log_out: "Выйти из чата", notify_on: "Уведомления: вкл.", notify_off: "Уведомления: выкл.",
  notify_blocked: "Браузер не разрешает этой странице показывать уведомления.",
};

// The purpose of each command. The server sends only the English one.
const russianCommands = {
  me: "описать своё действие", msg: "отправить личное сообщение",
  reply: "ответить на последнее личное сообщение", users: "кто в этой комнате или в другой",
  rooms: "список комнат", join: "войти в комнату или создать её",
  leave: "выйти из этой комнаты или из другой", topic: "показать или изменить тему комнаты",
  history: "показать историю", search: "найти сообщения; без слов — искать дальше",
  quote: "процитировать сообщение с этим номером", delete: "удалить сообщение с этим номером",
  nick: "сменить имя", away: "отметить, что вас нет на месте; без слов — что вы вернулись",
  ignore: "скрыть сообщения пользователя; без имени — кто скрыт",
  unignore: "снова показывать сообщения пользователя", help: "список команд или справка по одной",
  quit: "выйти из чата", token: "код, который восстановит сеанс",
  lag: "кто отстаёт и на сколько сообщений", oper: "стать оператором",
  numbers: "показывать номера сообщений", times: "показывать время с секундами",
  quiet: "скрывать входы, выходы и смену имён", resume: "восстановить сеанс по коду",
  status: "состояние этого сервера и кластера", whois: "комнаты, адрес и время входа пользователя",
  op: "назначить оператором комнаты", deop: "лишить прав оператора", kick: "выгнать из комнаты",
  ban: "заблокировать пользователя или сеть", unban: "снять блокировку", bans: "список блокировок",
  mute: "запретить писать в этой комнате", unmute: "снова разрешить писать",
  invite: "пригласить в эту комнату", private: "пускать в комнату только по приглашению",
  password: "пускать в комнату только по паролю", audit: "последние действия операторов",
  forget: "удалить комнату и её историю; без yes — показать, что будет удалено",
  penalties: "кто превысил ограничения; end — снять ограничение",
};

// The words for arguments in the usage of commands.
const russianArguments = {
  ADDRESS: "АДРЕС", COMMAND: "КОМАНДА", DURATION: "СРОК", FROM: "ОТ", NAME: "ИМЯ",
  PASSWORD: "ПАРОЛЬ", ROOM: "КОМНАТА", SOURCE: "ИСТОЧНИК", TO: "ДО", TOKEN: "КОД", WORD: "ПАРОЛЬ",
  WORDS: "ТЕКСТ",
};

export const language = navigator.language?.toLowerCase().startsWith("ru") ? "ru" : "en";
const words = language === "ru" ? russian : english;

/** Returns the page's text for `key`. `values` replace `{0}`, `{1}` and so on. */
export function say(key, ...values) {
  return words[key].replace(/\{(\d)\}/g, (_, place) => values[place]);
}

export function purpose(command) {
  return (language === "ru" && russianCommands[command.name]) || command.purpose;
}

export function usage(command) {
  if (language !== "ru") return command.usage;
  return command.usage.replace(/\b[A-Z]{2,}\b/g, (word) => russianArguments[word] ?? word);
}

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const calendar = new Intl.DateTimeFormat(language, { dateStyle: "full" });
const exact = new Intl.DateTimeFormat(language, { timeStyle: "medium", hourCycle: "h23" });
const list = new Intl.ListFormat(language, { type: "conjunction" });
export const hour = (time) => clock.format(time);
export const second = (time) => exact.format(time);
export const names = (several) => list.format(several);
export const day = (time) => calendar.format(time);
