/* One register of numbers on the instruction set that this file is compiled for. In: nothing. Out: V<T>, load, store, fma, select.
 *
 * GCC's and clang's vector extensions give arithmetic, comparison and choice on every processor; what they lack is a fused
 * multiply-add with a fixed meaning, so that one is spelt out. Compiled with -ffp-contract=off: nothing else is fused. */
#ifndef TIDEGATE_VEC_H
#define TIDEGATE_VEC_H

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, registers = 32;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, registers = 16;
#elif defined(__aarch64__)
constexpr int vector_bytes = 16, registers = 32;
#else
constexpr int vector_bytes = 16, registers = 16;
#endif

template <class T> struct Vector;
template <> struct Vector<float> {
  typedef float type __attribute__((vector_size(vector_bytes), may_alias));
  typedef float loose __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
  typedef int32_t ints __attribute__((vector_size(vector_bytes), may_alias));
};
template <> struct Vector<double> {
  typedef double type __attribute__((vector_size(vector_bytes), may_alias));
  typedef double loose __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
  typedef int64_t ints __attribute__((vector_size(vector_bytes), may_alias));
};
template <class T> using V = typename Vector<T>::type;
template <class T> constexpr int lanes = vector_bytes / int(sizeof(T));

#define TG_INLINE static inline __attribute__((always_inline, unused))

template <class T> TG_INLINE V<T> load(const T *p) { return *reinterpret_cast<const typename Vector<T>::loose *>(p); }
template <class T> TG_INLINE void store(T *p, V<T> v) { *reinterpret_cast<typename Vector<T>::loose *>(p) = v; }
template <class T> TG_INLINE V<T> all(T value) { return V<T>{} + value; }

/* n < lanes values, zeros beyond. */
template <class T> TG_INLINE V<T> load_part(const T *p, int64_t n) {
  V<T> v = {};
  for (int64_t k = 0; k < n; ++k) v[k] = p[k];
  return v;
}
template <class T> TG_INLINE void store_part(T *p, V<T> v, int64_t n) {
  for (int64_t k = 0; k < n; ++k) p[k] = v[k];
}
template <class T> TG_INLINE V<T> load_upto(const T *p, int64_t n) { return n >= lanes<T> ? load(p) : load_part(p, n); }
template <class T> TG_INLINE void store_upto(T *p, V<T> v, int64_t n) {
  if (n >= lanes<T>) store(p, v);
  else store_part(p, v, n);
}

/* One turn of `transpose`: lanes whose number lacks the bit `half` from a, the others from b, `half` lanes away in one of the two. */
template <int half, class R, int... j> TG_INLINE void exchange(R *a, R *b, std::integer_sequence<int, j...>) {
  constexpr int n = int(sizeof...(j));
  const R low = __builtin_shufflevector(*a, *b, (j & half ? n + j - half : j)...);
  *b = __builtin_shufflevector(*a, *b, (j & half ? n + j : j + half)...);
  *a = low;
}
/* Rows to columns, in place: v[i][j] and v[j][i] change places (Eklundh 1972). */
template <class T, int half = 1> TG_INLINE void transpose(V<T> *v) {
  if constexpr (half < lanes<T>) {
#pragma GCC unroll 16
    for (int i = 0; i < lanes<T>; ++i)
      if (!(i & half)) exchange<half>(&v[i], &v[i + half], std::make_integer_sequence<int, lanes<T>>());
    transpose<T, half * 2>(v);
  }
}

/* a * b + c, rounded once where the processor can. */
TG_INLINE V<float> fma(V<float> a, V<float> b, V<float> c) {
#if defined(__AVX512F__)
  return (V<float>)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#elif defined(__FMA__)
  return (V<float>)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#elif defined(__aarch64__)
  return (V<float>)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}
TG_INLINE V<double> fma(V<double> a, V<double> b, V<double> c) {
#if defined(__AVX512F__)
  return (V<double>)_mm512_fmadd_pd((__m512d)a, (__m512d)b, (__m512d)c);
#elif defined(__FMA__)
  return (V<double>)_mm256_fmadd_pd((__m256d)a, (__m256d)b, (__m256d)c);
#elif defined(__aarch64__)
  return (V<double>)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b);
#else
  return a * b + c;
#endif
}

/* 2^k for whole k in [-126, 127], from the bits of k + 1.5 * 2^23. */
TG_INLINE V<float> pow2_of_shifted(V<float> shifted) {
  auto bits = (Vector<float>::ints)shifted;
  return (V<float>)((bits << 23) + 0x3f800000);
}

/* Denormal numbers count as zero while one of these lives; the mode it found comes back. */
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : found_(_mm_getcsr()) { _mm_setcsr(found_ | 0x8040u); } /* flush to zero, denormals are zero */
  ~FlushDenormals() { _mm_setcsr(found_); }

 private:
  unsigned found_;
#elif defined(__aarch64__)
  FlushDenormals() {
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(found_));
    __asm__ __volatile__("msr fpcr, %0" ::"r"(found_ | (uint64_t(1) << 24)));
  }
  ~FlushDenormals() { __asm__ __volatile__("msr fpcr, %0" ::"r"(found_)); }

 private:
  uint64_t found_;
#else
  FlushDenormals() {}
#endif
};

}  // namespace
#endif
