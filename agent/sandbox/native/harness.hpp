// Around a C++ program whose functions are called: answers calls over descriptor 3.
//
//     server -> here   {"id":"...","call":N} for each call; {"id":"...","end":true}
//     here -> server   {"loaded": true}; {"id", "ok": value} or {"id", "err"}; {"id", "end"}
//
// Frames are a big-endian length of four bytes and JSON. Stands before the program, whose macros then change nothing
// here, and includes no container: the program must include what it uses.
#include <cxxabi.h>
#include <exception>
#include <new>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <utility>

extern "C" {
long burnish_read(int, void*, unsigned long) __asm__("read");
long burnish_write(int, const void*, unsigned long) __asm__("write");
int burnish_flush(void*) __asm__("fflush");
}

namespace burnish_harness {

constexpr int channel = 3;
constexpr unsigned long max_bytes = 8 * 1024 * 1024, max_nodes = 1000000, max_order = 1024;

struct Nothing {};

template <class T>
T&& operator,(T&& value, Nothing) {
  return static_cast<T&&>(value);
}

class Sink {
 public:
  Sink() : data_(static_cast<char*>(__builtin_malloc(1024))), capacity_(data_ ? 1024 : 0) {}
  ~Sink() { __builtin_free(data_); }
  Sink(const Sink&) = delete;
  Sink& operator=(const Sink&) = delete;

  void clear() { size_ = nodes_ = 0, full_ = false; }
  void node() { full_ = full_ || ++nodes_ > max_nodes; }
  bool full() const { return full_; }
  const char* data() const { return data_; }
  unsigned long size() const { return size_; }

  void put(char letter) {
    if (size_ == capacity_ && !grow()) return;
    data_[size_++] = letter;
  }
  void put(const char* text) {
    while (*text) put(*text++);
  }

  void quoted(const char* text, unsigned long length) {
    const unsigned char* bytes = reinterpret_cast<const unsigned char*>(text);
    put('"');
    for (unsigned long at = 0; at < length && !full_;) at += character(bytes + at, length - at);
    put('"');
  }
  void quoted(const char* text) { quoted(text, __builtin_strlen(text)); }

 private:
  bool grow() {
    if (full_ || capacity_ * 2 > max_bytes) return full_ = true, false;
    char* larger = static_cast<char*>(__builtin_realloc(data_, capacity_ * 2));
    if (!larger) return full_ = true, false;
    data_ = larger, capacity_ *= 2;
    return true;
  }

  void escape(unsigned code) {
    const char* digits = "0123456789abcdef";
    put("\\u");
    for (int shift = 12; shift >= 0; shift -= 4) put(digits[code >> shift & 15]);
  }

  // Writes the UTF-8 character at `bytes`; its length. A byte that belongs to none stands as a lone surrogate.
  unsigned long character(const unsigned char* bytes, unsigned long left) {
    unsigned first = bytes[0];
    if (first < 0x80) {
      if (first == '"' || first == '\\') put('\\'), put(first);
      else if (first < 0x20 || first == 0x7f) escape(first);
      else put(first);
      return 1;
    }
    unsigned long length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    unsigned least = length == 4 ? 0x10000 : length == 3 ? 0x800 : 0x80;
    unsigned code = first & (0x7f >> length);
    bool whole = first >= 0xc2 && first < 0xf5 && length <= left;
    for (unsigned long at = 1; whole && at < length; ++at) {
      whole = (bytes[at] & 0xc0) == 0x80;
      code = code << 6 | (bytes[at] & 0x3f);
    }
    if (!whole || code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
      return escape(0xdc00 + first), 1;
    if (code < 0x10000) return escape(code), length;
    escape(0xd800 + ((code - 0x10000) >> 10)), escape(0xdc00 + ((code - 0x10000) & 0x3ff));
    return length;
  }

  char* data_;
  unsigned long capacity_, size_ = 0, nodes_ = 0;
  bool full_ = false;
};

template <class T, class = void>
struct IsRange : std::false_type {};
template <class T>
struct IsRange<T, std::void_t<typename T::value_type, decltype(std::declval<T&>().begin() != std::declval<T&>().end())>>
    : std::bool_constant<!std::is_same_v<typename T::value_type, T>> {};
template <class T, class = void>
struct IsString : std::false_type {};
template <class T>
struct IsString<T, std::void_t<typename T::traits_type, decltype(std::declval<T&>().data())>>
    : std::is_same<typename T::value_type, char> {};
template <class T, class = void>
struct HasKey : std::false_type {};
template <class T>
struct HasKey<T, std::void_t<typename T::key_type>> : std::true_type {};
template <class T, class = void>
struct HasMapped : std::false_type {};
template <class T>
struct HasMapped<T, std::void_t<typename T::mapped_type>> : std::true_type {};
template <class T, class = void>
struct IsOptional : std::false_type {};
template <class T>
struct IsOptional<T, std::void_t<decltype(std::declval<T&>().has_value() ? *std::declval<T&>() : *std::declval<T&>())>>
    : std::true_type {};
template <class T, class = void>
struct IsVariant : std::false_type {};
template <class T>
struct IsVariant<T, std::void_t<decltype(std::declval<T&>().valueless_by_exception())>> : std::true_type {};
template <class T>
struct IsTuple : std::false_type {};
template <class... T>
struct IsTuple<std::tuple<T...>> : std::true_type {};
template <class A, class B>
struct IsTuple<std::pair<A, B>> : std::true_type {};

template <class T>
void emit(Sink& sink, const T& value);

template <class T>
void integer(Sink& sink, T value) {
  char digits[48];
  int count = 0;
  bool negative = value < 0;
  do {
    int digit = static_cast<int>(value % 10);
    digits[count++] = static_cast<char>('0' + (digit < 0 ? -digit : digit));
    value /= 10;
  } while (value != 0);
  if (negative) sink.put('-');
  while (count > 0) sink.put(digits[--count]);
}

template <class T>
void floating(Sink& sink, T value) {
  if (__builtin_isnan(value)) return sink.put("NaN");
  if (__builtin_isinf(value)) return sink.put(value < 0 ? "-Infinity" : "Infinity");
  char text[64];
  int precision = sizeof(T) == 4 ? 9 : sizeof(T) == 8 ? 17 : 21;
  int length = __builtin_snprintf(text, sizeof text, "%.*Lg", precision, static_cast<long double>(value));
  text[length] = 0;
  sink.put(text);
  bool whole = true;
  for (int at = 0; at < length; ++at) whole = whole && text[at] != '.' && text[at] != 'e';
  if (whole) sink.put(".0");
}

inline void opaque(Sink& sink, const std::type_info& kind) {
  int status = 0;
  char* name = abi::__cxa_demangle(kind.name(), nullptr, nullptr, &status);
  sink.put("[\"x\",");
  sink.quoted(name ? name : kind.name());
  sink.put(",\"\"]");
  __builtin_free(name);
}

template <class T>
void range(Sink& sink, T&& values) {
  using Item = std::remove_cv_t<typename std::remove_reference_t<T>::value_type>;
  sink.put(HasKey<std::remove_cv_t<std::remove_reference_t<T>>>::value ? "[\"s\"" : "[\"l\"");
  for (auto at = values.begin(); at != values.end() && !sink.full(); ++at) {
    sink.put(',');
    emit<Item>(sink, static_cast<const Item&>(*at));
  }
  sink.put(']');
}

template <class T>
void emit(Sink& sink, const T& value) {
  sink.node();
  if (sink.full()) return;
  if constexpr (std::is_same_v<T, Nothing> || std::is_same_v<T, std::nullptr_t>) sink.put("null");
  else if constexpr (std::is_same_v<T, bool>) sink.put(value ? "true" : "false");
  else if constexpr (std::is_same_v<T, char>) sink.quoted(&value, 1);
  else if constexpr (std::is_enum_v<T>) integer(sink, static_cast<long long>(value));
  else if constexpr (std::is_floating_point_v<T>) floating(sink, value);
  else if constexpr (std::is_integral_v<T>) integer(sink, +value);
  else if constexpr (std::is_array_v<T> && std::is_same_v<std::remove_cv_t<std::remove_extent_t<T>>, char>)
    sink.quoted(value);
  else if constexpr (std::is_array_v<T>) {
    sink.put("[\"l\"");
    for (const auto& item : value) sink.put(','), emit<std::remove_cv_t<std::remove_extent_t<T>>>(sink, item);
    sink.put(']');
  } else if constexpr (std::is_same_v<T, const char*> || std::is_same_v<T, char*>) {
    if (value) sink.quoted(value);
    else sink.put("null");
  } else if constexpr (IsString<T>::value) sink.quoted(value.data(), value.size());
  else if constexpr (HasMapped<T>::value && IsRange<T>::value) {
    sink.put("[\"d\"");
    for (const auto& [key, held] : value) {
      sink.put(','), emit<std::remove_cv_t<std::remove_reference_t<decltype(key)>>>(sink, key);
      sink.put(','), emit<std::remove_cv_t<std::remove_reference_t<decltype(held)>>>(sink, held);
      if (sink.full()) return;
    }
    sink.put(']');
  } else if constexpr (IsRange<const T>::value) range(sink, value);
  else if constexpr (IsTuple<T>::value) {
    sink.put("[\"l\"");
    std::apply([&](const auto&... items) { (..., (sink.put(','), emit(sink, items))); }, value);
    sink.put(']');
  } else if constexpr (IsVariant<T>::value) visit([&](const auto& held) { emit(sink, held); }, value);
  else if constexpr (IsOptional<const T>::value) {
    if (value.has_value()) emit(sink, *value);
    else sink.put("null");
  } else opaque(sink, typeid(T));
}

// Defined after the program: evaluates call `number`.
void call(unsigned number, Sink& sink);

inline void leave() { burnish_exit(0); }

inline void exactly(char* target, unsigned long length) {
  while (length > 0) {
    long count = burnish_read(channel, target, length);
    if (count <= 0) leave();
    target += count, length -= count;
  }
}

inline void send(const char* data, unsigned long length) {
  char header[4];
  for (int at = 0; at < 4; ++at) header[at] = static_cast<char>(length >> (24 - 8 * at));
  burnish_write(channel, header, 4);
  while (length > 0) {
    long count = burnish_write(channel, data, length);
    if (count <= 0) leave();
    data += count, length -= count;
  }
}

inline void failed(Sink& sink, const std::type_info* kind, const char* message, bool memory) {
  int status = 0;
  char* name = kind ? abi::__cxa_demangle(kind->name(), nullptr, nullptr, &status) : nullptr;
  sink.put("\"err\":{\"type\":");
  sink.quoted(name ? name : "unknown");
  sink.put(",\"message\":");
  sink.quoted(message, __builtin_strlen(message) > 1000 ? 1000 : __builtin_strlen(message));
  sink.put(memory ? ",\"memory\":true}" : "}");
  __builtin_free(name);
}

inline void begin(Sink& sink, const char* id) {
  sink.clear();
  sink.put("{\"id\":\"");
  sink.put(id);
  sink.put("\",");
}

inline void answer(Sink& sink, const char* id, unsigned number) {
  try {
    begin(sink, id);
    sink.put("\"ok\":");
    call(number, sink);
    if (sink.full()) {
      begin(sink, id);
      sink.put("\"err\":{\"type\":\"Unserialisable\",\"message\":\"the value is too large\"}");
    }
  } catch (const std::exception& error) {
    begin(sink, id);
    failed(sink, &typeid(error), error.what(), dynamic_cast<const std::bad_alloc*>(&error) != nullptr);
  } catch (...) {
    begin(sink, id);
    failed(sink, abi::__cxa_current_exception_type(), "an exception that is no std::exception", false);
  }
}

inline void serve() {
  static Sink sink;
  send("{\"loaded\":true}", 15);
  for (;;) {
    unsigned char header[4];
    char order[max_order + 1] = {}, id[65] = {};
    exactly(reinterpret_cast<char*>(header), 4);
    unsigned long length = 0;
    for (unsigned char byte : header) length = length << 8 | byte;
    if (length > max_order) leave();
    exactly(order, length);
    unsigned number = 0;
    unsigned long at = 7;
    for (; at < length && at < 71 && order[at] != '"'; ++at) id[at - 7] = order[at];
    bool ends = order[at + 3] == 'e';
    for (at += 9; at < length && order[at] >= '0' && order[at] <= '9'; ++at) number = number * 10 + (order[at] - '0');
    if (ends) {
      begin(sink, id);
      sink.put("\"end\":true");
    } else {
      answer(sink, id, number);
      burnish_flush(nullptr);
    }
    sink.put('}');
    send(sink.data(), sink.size());
  }
}

}  // namespace burnish_harness

int main() { burnish_harness::serve(); }
