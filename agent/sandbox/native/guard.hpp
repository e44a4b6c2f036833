// Before every C++ program: abort() says so. The first process of its own process namespace is not ended by signals
// that it sends itself, so that an abort would else look like a bad pointer.
extern "C" {
typedef void (*burnish_handler)(int);
burnish_handler burnish_signal(int, burnish_handler) __asm__("signal");
void burnish_exit(int) __asm__("_exit");
}
static void burnish_aborted(int) { burnish_exit(134); }
__attribute__((constructor)) static void burnish_guard() { burnish_signal(6, burnish_aborted); }
