#!/bin/sh
# Writes the arithmetic-coded JPEGs beside this file, which neither Pillow nor OpenCV can write.
# Needs cjpeg of libjpeg-turbo, built with arithmetic coding, as Debian's is.
set -e
cd "$(dirname "$0")"
awk 'BEGIN {
    print "P3 53 37 255"
    for (y = 0; y < 37; y++)
        for (x = 0; x < 53; x++)
            printf "%d %d %d\n", x * 255 / 52, y * 255 / 36, (x + 2 * y) * 255 / 124
}' > drawn.ppm
cjpeg -arithmetic -quality 90 drawn.ppm > arithmetic.jpg
cjpeg -arithmetic -progressive -quality 90 drawn.ppm > arithmetic-progressive.jpg
cjpeg -arithmetic -grayscale -quality 90 drawn.ppm > arithmetic-grey.jpg
cjpeg -arithmetic -restart 1 -sample 1x1 -quality 90 drawn.ppm > arithmetic-restarts.jpg
rm drawn.ppm
