/* Where a Cortex-M begins: the stack's end and the first function; the floating-point unit on; the C library's semihosting. */
#include <stdio.h>
#include <stdint.h>

extern int main(void);
extern void initialise_monitor_handles(void);
extern void _exit(int);
void reset(void);
void reset(void) {
#if defined(__ARM_FP)
  *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
  __asm__ volatile("dsb\n isb");
#endif
  initialise_monitor_handles();
  {
    const int status = main();
    fflush(stdout);
    _exit(status);
  }
}
typedef union {
  uintptr_t address;
  void (*function)(void);
} entry;
__attribute__((section(".vectors"), used)) static const entry vectors[2] = {{0x20400000u}, {.function = reset}};
